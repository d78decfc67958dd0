"""The experiment's runs of pipelines, stages, sweeps and trials: started, resumed, found, closed."""

import itertools
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import yaml

from orchestration.tracking.provenance import driver_tags, environment, is_alive
from orchestration.tracking.retry import Server
from orchestration.tracking.runs import NOTE, PARENT, Run, Status, description

KIND, STORAGE, TOKEN, ERROR = "hia.kind", "hia.storage", "hia.token", "hia.error"
ORPHANS_PER_PAGE = 1000


@dataclass(frozen=True)
class Tracking:
    """An experiment in a tracking server, seen from a storage.

    storage: its identity. A run is resumed only where its stage folder is: elsewhere, it may still be going on.
    All methods wait for a server that is away, as long as its patience lasts. They raise TrackingUnavailable and
    TrackingRefused.
    """

    server: Server
    experiment_id: str
    storage: str

    def start_pipeline(self, fingerprint: str, config: Mapping[str, Any], tags: Mapping[str, str]) -> Run:
        """Resume the run of a pipeline, unless a living process works on it, or start a new one."""
        marks = {KIND: "pipeline", "fingerprint": fingerprint}
        preset = str(config.get("preset") or "pipeline")
        title = f"Pipeline of preset `{preset}`: the runs of its stages are below this one"
        return self._start(f"{preset} {fingerprint[:8]}", title, marks, "", config, tags)

    def start_stage(
        self, parent: Run, name: str, fingerprint: str, config: Mapping[str, Any], tags: Mapping[str, str]
    ) -> Run:
        """Resume the unfinished run of a stage, whatever its parent was, or start one; it is put below `parent`."""
        marks = {KIND: "stage", "stage": name, "fingerprint": fingerprint}
        return self._start(
            name,
            f"Stage `{name}` of the chain",
            marks,
            "attributes.status != 'FINISHED'",
            config,
            dict(tags) | {PARENT: parent.id},
        )

    def start_sweep(self, name: str, fingerprint: str, spec: Mapping[str, Any], tags: Mapping[str, str]) -> Run:
        """Resume or start the run of a sweep, as a pipeline's. spec: the content of its file."""
        marks = {KIND: "sweep", "fingerprint": fingerprint}
        title = f"Sweep `{name}`: the runs of its trials are below this one"
        return self._start(
            f"sweep {name} {fingerprint[:8]}", title, marks, "", spec, tags, "orchestration/sweep.py config.yaml"
        )

    def start_table(self, number: int, fingerprint: str, config: Mapping[str, Any], tags: Mapping[str, str]) -> Run:
        """Resume or start the run of one of the paper's tables, as a sweep's. config: the base of all its rows."""
        marks = {KIND: "table", "fingerprint": fingerprint}
        title = f"Table {number} of the paper: the runs of its rows are below this one"
        again = f"experiments/tables.py --table {number} --preset config.yaml"
        return self._start(f"table {number} {fingerprint[:8]}", title, marks, "", config, tags, again)

    def start_trial(
        self,
        sweep_run: str,
        name: str,
        sweep: str,
        trial: str,
        config: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> Run:
        """Resume or start the run of a sweep's trial. sweep_run: id of the sweep's run; sweep: its fingerprint."""
        marks = {KIND: "trial", "sweep_fingerprint": sweep, "trial": trial}
        title = f"Trial {name} of a sweep: the runs of the stages that it made are below this one"
        return self._start(name, title, marks, "", config, dict(tags) | {PARENT: sweep_run})

    def close(self, run_id: str, status: Status, why: Mapping[str, str]) -> None:
        """End a run that is still RUNNING though its process has ended. why: tags for it and those below it."""
        self.close_below(run_id, why)
        found = self.server.call_with_retry("reading a run", partial(self.server.client.get_run, run_id))
        if found.info.status == "RUNNING":
            run = self._run(found.info)
            run.set_tags(why)
            run.finish(status)

    def close_below(self, run_id: str, why: Mapping[str, str]) -> None:
        """Mark the RUNNING runs below one, at any depth, as KILLED."""
        wanted = _filter({PARENT: run_id}, "attributes.status = 'RUNNING'")
        for found in self._search("looking for runs of ended processes", wanted, ORPHANS_PER_PAGE):
            self.close(found.info.run_id, "KILLED", why)

    def find_finished(self, name: str, fingerprint: str) -> str | None:
        """The id of the latest finished run of a stage with this fingerprint, from any storage."""
        wanted = _filter({KIND: "stage", "stage": name, "fingerprint": fingerprint}, "attributes.status = 'FINISHED'")
        found = self._search(f"looking for a finished run of {name}", wanted, 1)
        return found[0].info.run_id if found else None

    def close_orphans(self) -> None:
        """Mark RUNNING runs whose process on this machine has ended as KILLED."""
        wanted = _filter({"hia.host": socket.gethostname()}, "attributes.status = 'RUNNING'")
        for found in self._search("looking for runs of ended processes", wanted, ORPHANS_PER_PAGE):
            if not _has_driver(found):
                run = self._run(found.info)
                run.set_tags({ERROR: f"its process {found.data.tags['hia.pid']} ended without a word"})
                run.finish("KILLED")

    def _start(
        self,
        name: str,
        title: str,
        marks: Mapping[str, str],
        condition: str,
        config: Mapping[str, Any],
        tags: Mapping[str, str],
        again: str = "orchestration/run_all.py --preset config.yaml",
    ) -> Run:
        known = dict(tags) | dict(marks)
        all_tags = known | driver_tags() | _source_tags() | {NOTE: description(title, known, environment(), again)}
        run = self._resumed(name, _filter(dict(marks) | {STORAGE: self.storage}, condition), all_tags)
        run = run or self._created(name, all_tags | {STORAGE: self.storage})
        run.log_params(config)
        plain = json.loads(json.dumps(config))
        run.log_text(yaml.safe_dump(plain, allow_unicode=True, sort_keys=False), "config.yaml")
        run.log_dict(environment(), "environment.json")
        return run

    def _resumed(self, name: str, wanted: str, tags: Mapping[str, str]) -> Run | None:
        """The latest run that may be resumed; None for none."""
        client = self.server.client
        for found in self._search(f"looking for the run of {name}", wanted, 10):
            if found.info.status == "RUNNING" and _has_driver(found, other_than_this=True):
                continue
            run = self._run(found.info)
            self.server.call_with_retry(f"resuming {name}", partial(client.update_run, run.id, "RUNNING"))
            if ERROR in found.data.tags:
                self.server.call_with_retry(f"resuming {name}", partial(client.delete_tag, run.id, ERROR))
            run.set_tags(tags)
            return run
        return None

    def _created(self, name: str, tags: Mapping[str, str]) -> Run:
        """Create a run: a single one, even if the answer to the first request is lost."""
        token, attempts = uuid4().hex, itertools.count()

        def create() -> Any:
            client = self.server.client
            if next(attempts) and (made := client.search_runs([self.experiment_id], _filter({TOKEN: token}))):
                return made[0].info
            return client.create_run(self.experiment_id, tags=dict(tags) | {TOKEN: token}, run_name=name).info

        return self._run(self.server.call_with_retry(f"beginning the run of {name}", create))

    def _search(self, what: str, wanted: str, most: int) -> list[Any]:
        return self.server.call_with_retry(
            what,
            lambda: list(
                self.server.client.search_runs(
                    [self.experiment_id], wanted, max_results=most, order_by=["attributes.start_time DESC"]
                )
            ),
        )

    def _run(self, info: Any) -> Run:
        return Run(self.server, info.run_id, self.experiment_id, info.start_time)


def _filter(tags: Mapping[str, str], *conditions: str) -> str:
    """Filter string of `search_runs`."""
    return " and ".join([*filter(None, conditions), *(f"tags.`{name}` = '{value}'" for name, value in tags.items())])


def _has_driver(found: Any, other_than_this: bool = False) -> bool:
    """True if the run's process is alive on this machine; False for other machines, whose processes cannot be seen."""
    tags, own = found.data.tags, driver_tags()
    if tags.get("hia.host") != own["hia.host"] or (other_than_this and tags["hia.pid"] == own["hia.pid"]):
        return False
    return is_alive(int(tags["hia.pid"]), float(tags["hia.process_started"]))


def _source_tags() -> dict[str, str]:
    """MLflow's own tags of user, source and commit, which its page shows in columns."""
    from mlflow.tracking.context.registry import resolve_tags

    commit = environment()["commit"]
    return resolve_tags() | ({"mlflow.source.git.commit": commit} if commit else {})
