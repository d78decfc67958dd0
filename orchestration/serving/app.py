"""The Ray Serve application: two deployments that serve a registered model over HTTP.

`Ingress` checks HTTP requests and passes them to the replicas of `Replica`, each of which holds a copy of the model.
Requests, answers, limits and error messages are those of `mlflow models serve`.
"""

from pydantic import BaseModel, ConfigDict, Field
from ray import serve

from hia.serving.limits import Limits
from hia.serving.loading import LIMITS, WATERMARK
from orchestration.serving.ingress import Ingress
from orchestration.serving.model_source import pinned, recorded_settings
from orchestration.serving.replica import Replica

# No limit of Serve's for the ingress, because it must answer 429 and pings when all places are taken.
UNLIMITED_REQUESTS = 1000

# `Replica` and `Ingress` live in other modules, because Serve pickles a deployment's class with all that its own module
# names, some of which cannot be pickled.
REPLICA = serve.deployment(max_ongoing_requests=2, max_queued_requests=8)(Replica)
# The ingress computes next to nothing: on a small machine all CPUs are left to a replica.
INGRESS = serve.deployment(max_ongoing_requests=UNLIMITED_REQUESTS, ray_actor_options={"num_cpus": 0})(Ingress)


class Settings(BaseModel):
    """Arguments of the application, as `serve run` or a Serve configuration's `args` gives them.

    model: models:/NAME@ALIAS, models:/NAME/VERSION, or a folder that all machines see. gpus, cpus: of a replica;
    without a GPU it computes in as many threads. watermark, limits: instead of those recorded with the model. places:
    requests that may be in flight at once, all of them in memory.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    gpus: float = Field(1, ge=0)
    cpus: float = Field(1, ge=1)
    watermark: bool | None = None
    limits: dict[str, int | float] = {}
    places: int = Field(16, ge=1)


def build(settings: Settings) -> serve.Application:
    """Build the application. `$HIA_LIMIT_<FIELD>` of this process applies. Raises ValueError and MLflow's errors."""
    model = pinned(settings.model)
    recorded = recorded_settings(model)
    limits = Limits.of({**recorded.get(LIMITS, {}), **settings.limits})
    watermark = recorded.get(WATERMARK, True) if settings.watermark is None else settings.watermark
    replica = REPLICA.options(ray_actor_options={"num_gpus": settings.gpus, "num_cpus": settings.cpus})
    return INGRESS.bind(replica.bind(model, limits, watermark), limits, settings.places)
