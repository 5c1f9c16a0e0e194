"""How does a training loop of one's own become a run of the service?

    run           what the loop calls: `track`, `log`, `measure`, `save`, `should_stop`
    sender        how do points reach the service, in order and each once?
    columns       which bytes is a batch of points made of?
    spool         where do batches wait while the service is away?
    files         how do the files that it saves reach the service?
    states        how does a state become a file, and a file a state again?
    energies      what are the energies of a model's layers?
    environment   where does the loop run?
    output        how does what the loop prints reach the run's log?
    lightning, transformers      how do their trainers log into a run? with new_numbers

Knows HTTP alone, as all of the client; the library is imported where a loop measures.
"""

from hsu_client.tracking.run import Run, track

__all__ = ["Run", "track"]
