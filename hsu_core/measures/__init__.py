"""What is recorded of every layer, and which values would random points or the best points have?

Empty of imports on purpose: `optima` does not load torch.
"""
