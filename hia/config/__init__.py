"""Configuration: frozen, strict objects, checked once when they are read.

A run is one YAML file. Its `base:` key names another file (or preset) whose values it changes; `key=value` overrides
change single values after that, and `base=NAME` replaces the file's own base. Unknown keys and values of a wrong type
are refused with their path. This package imports nothing else of `hia`.
"""

from hia.config.data import PoseConfig, PreprocessConfig, SamplesConfig
from hia.config.evaluation import EvaluationConfig
from hia.config.loading import ConfigError, load_config, parse_config
from hia.config.model import (
    CodecConfig,
    ConditionsConfig,
    NetworkConfig,
    PretrainedConfig,
    SamplingConfig,
    ScheduleConfig,
)
from hia.config.run import Config
from hia.config.stages import LossWeights, Stage, Stages
from hia.config.training import DancersConfig, OptimizerConfig, TrainingConfig

__all__ = [
    "CodecConfig",
    "ConditionsConfig",
    "Config",
    "ConfigError",
    "DancersConfig",
    "EvaluationConfig",
    "LossWeights",
    "NetworkConfig",
    "OptimizerConfig",
    "PoseConfig",
    "PreprocessConfig",
    "PretrainedConfig",
    "SamplesConfig",
    "SamplingConfig",
    "ScheduleConfig",
    "Stage",
    "Stages",
    "TrainingConfig",
    "load_config",
    "parse_config",
]
