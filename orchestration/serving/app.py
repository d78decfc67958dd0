"""The registered model behind Ray Serve: an application of two deployments.

`Ingress` takes HTTP requests, looks at them, and has them answered by one of the replicas of `Replica`, of which each
holds a copy of the model. Requests, answers, limits and refusals are those of `mlflow models serve`.
"""

from pydantic import BaseModel, ConfigDict, Field
from ray import serve

from hia.serving.limits import Limits
from hia.serving.loading import LIMITS, WATERMARK
from orchestration.serving.ingress import Ingress
from orchestration.serving.model_source import pinned, recorded_settings
from orchestration.serving.replica import Replica

# Serve itself holds back no request from the door, not even when all places are taken: it says so, and answers pings.
NEVER_FULL = 1000

# The door computes next to nothing: all CPUs of a small machine are left to a replica.
# Classes of other modules: Serve copies a class with all that its own module names, and some of that cannot be.
REPLICA = serve.deployment(max_ongoing_requests=2, max_queued_requests=8)(Replica)
INGRESS = serve.deployment(max_ongoing_requests=NEVER_FULL, ray_actor_options={"num_cpus": 0})(Ingress)


class Settings(BaseModel):
    """What `serve run` and a Serve configuration's `args` may say.

    model: models:/NAME@ALIAS, models:/NAME/VERSION, or a folder that all machines see. gpus, cpus: of a replica;
    without a GPU it computes in so many threads. watermark, limits: instead of what is recorded with the model. places:
    requests that may be on their way at once, in memory.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    gpus: float = Field(1, ge=0)
    cpus: float = Field(1, ge=1)
    watermark: bool | None = None
    limits: dict[str, int | float] = {}
    places: int = Field(16, ge=1)


def build(settings: Settings) -> serve.Application:
    """The application. `$HIA_LIMIT_<FIELD>` counts where this runs. Raises ValueError and what MLflow does."""
    model = pinned(settings.model)
    recorded = recorded_settings(model)
    limits = Limits.of({**recorded.get(LIMITS, {}), **settings.limits})
    watermark = recorded.get(WATERMARK, True) if settings.watermark is None else settings.watermark
    animator = REPLICA.options(ray_actor_options={"num_gpus": settings.gpus, "num_cpus": settings.cpus})
    return INGRESS.bind(animator.bind(model, limits, watermark), limits, settings.places)
