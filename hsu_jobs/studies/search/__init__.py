"""Which values of some fields are best? Each arm of a study is searched by itself, with the same budget of trials.

    spec      what may be searched, and how?
    trials    which trials are there, and what have they given?
    asking    which trials begin now?
    sampling  at which point is the next one?
    report    what does the table say of a search?

A trial is a cell of the study. What is asked next depends on the rows of the study only, and on no clock: a service
that was killed asks the same again.
"""
