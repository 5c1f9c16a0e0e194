"""How is a model trained? The loop, its schedule, its checkpoints, and several processes that train one model.

Empty of imports on purpose: not all of it needs torch.
"""
