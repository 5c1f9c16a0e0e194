"""Does it help, how sure are we, and what does it cost? Many jobs that are run to be compared.

spec         what may a study ask?
plan         which cells does it have, and which spec has each?
requests     what may its owner request? Begin, pause, resume, cancel, extend, retry, enlist, delete
queueing     which of its jobs are queued now?
members      which jobs are its members, and how far are they?
metrics      what is compared, and which direction is better?
values       which number stands for a run?
table        what do the numbers show?
statistics/  the mathematics of it
"""
