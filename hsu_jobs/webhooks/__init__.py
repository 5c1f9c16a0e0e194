"""Which addresses get a message when something happens to a job, and was it delivered?"""
