"""How do runs of other tools become tracked runs of the service?

source        what is taken of a run: its curves, its configuration, its times, how it ended
mlflow, tensorboard      how are runs of these read? Each needs the extra of its name
sending       how is a run written to the service, once?
command       how is that asked from a terminal?
"""
