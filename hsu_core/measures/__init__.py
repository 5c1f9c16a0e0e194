"""What is recorded about every layer, and which values would random points or the best points have?

It has no imports, because `optima` must not load torch.
"""
