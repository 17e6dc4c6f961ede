"""One network that holds every part of a parent: made, trained, judged, kept.

The network itself is `edgetran.models.elastic`.
"""

from edgetran.elastic.evaluation import evaluate_parts, fastest_dtype, predict_parts
from edgetran.elastic.folder import load_elastic, read_record, save_elastic
from edgetran.elastic.making import make_elastic, removal_order
from edgetran.elastic.pool import ElasticPool
from edgetran.elastic.space import elastic_space, largest_part, smallest_part
from edgetran.elastic.training import ElasticTraining, train_elastic

__all__ = [
    "ElasticPool",
    "ElasticTraining",
    "elastic_space",
    "evaluate_parts",
    "fastest_dtype",
    "largest_part",
    "load_elastic",
    "make_elastic",
    "predict_parts",
    "read_record",
    "removal_order",
    "save_elastic",
    "smallest_part",
    "train_elastic",
]
