"""What is recorded of every layer, and what would random or the best points have?

Empty of imports on purpose: `optima` is free of torch.
"""
