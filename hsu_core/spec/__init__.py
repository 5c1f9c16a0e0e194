"""What can a spec contain? One frozen tree of values, the same over HTTP, in files, in Python and in Postgres.

Knows names, ranges and which choices fit together. Knows no tensors (importing it does not load torch) and no files.
Every union is discriminated by `kind`, and an unknown key is an error with a path. Each file lists its public names in
its `__all__`, so that a new member of a menu changes one file.
"""

# ruff: noqa: F403

from hsu_core.spec.baselines import *
from hsu_core.spec.batch_norm import *
from hsu_core.spec.batched import *
from hsu_core.spec.class_gap import *
from hsu_core.spec.classification import *
from hsu_core.spec.datasets import *
from hsu_core.spec.dispersion import *
from hsu_core.spec.evaluate import *
from hsu_core.spec.facts import *
from hsu_core.spec.family import *
from hsu_core.spec.geometry import *
from hsu_core.spec.graph_models import *
from hsu_core.spec.image_models import *
from hsu_core.spec.initial import *
from hsu_core.spec.layer_names import *
from hsu_core.spec.losses import *
from hsu_core.spec.measures import *
from hsu_core.spec.menus import *
from hsu_core.spec.models import *
from hsu_core.spec.nodes import *
from hsu_core.spec.objectives import *
from hsu_core.spec.optimizers import *
from hsu_core.spec.own_datasets import *
from hsu_core.spec.parametrizations import *
from hsu_core.spec.penalties import *
from hsu_core.spec.plugin_bases import *
from hsu_core.spec.plugin_tasks import *
from hsu_core.spec.points import *
from hsu_core.spec.recommendation import *
from hsu_core.spec.recommenders import *
from hsu_core.spec.regularizers import *
from hsu_core.spec.residual_models import *
from hsu_core.spec.schedules import *
from hsu_core.spec.strength import *
from hsu_core.spec.task import *
from hsu_core.spec.text_models import *
from hsu_core.spec.texts import *
from hsu_core.spec.training import *
from hsu_core.spec.trainings import *
from hsu_core.spec.values import *
from hsu_core.spec.vision_transformers import *
