"""Who is sent a message when something happens to a job, and what became of it?"""
