"""Loading: what the routes name is loaded, asked its input example, and only then put into service."""

import asyncio
import gc
import logging
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from configs.errors import EvergreenError
from serving.engine.example import answers_identically, read_example
from serving.engine.load import load_engine
from serving.inference import Desk
from serving.metrics import Metrics
from serving.reasons import typical_values
from serving.routes.local import CaseRoutes, LocalCopy, RouteEntry
from serving.served import Arm, Arms
from tasks.errors import AnswersDiffer

log = logging.getLogger(__name__)

_GRACE_SECONDS = 30
"""How long an engine that was replaced is kept: a request that chose it may still be under way."""
_KEPT_SECONDS = 600
"""How long a version that left the routes stays loaded: whoever took it out may want it back at once."""
_TRY_AGAIN_SECONDS = 5


@dataclass(frozen=True, slots=True)
class _Loaded:
    entry: RouteEntry
    arm: Arm


class Loading:
    """Keeps one case's desk in step with its routes."""

    def __init__(self, desk: Desk, copy: LocalCopy, metrics: Metrics) -> None:
        self._desk = desk
        self._copy = copy
        self._metrics = metrics
        self._loaded: dict[str, _Loaded] = {}
        self._leaving: dict[str, asyncio.TimerHandle] = {}
        """Versions that are loaded and have no role, until they are let go."""
        self.routes: CaseRoutes | None = None
        self._failed_at: float | None = None

    @property
    def due(self) -> bool:
        """Whether a version that could not be loaded should be tried once more."""
        return self._failed_at is not None and time.monotonic() - self._failed_at > _TRY_AGAIN_SECONDS

    async def follow(self, routes: CaseRoutes) -> None:
        """Bring the routes into service. A champion that cannot be loaded leaves the one before it, others nobody."""
        self.routes = routes
        self._failed_at = None
        before = self._desk.served.arms
        champion = await self._arm(routes.champion, before.champion)
        if before.champion and champion is not before.champion:
            # Users need not wait for the challenger to be loaded too. Where nobody answered yet they do: a worker that
            # has just started would otherwise move those who are on the challenger's side.
            self._put_into_service(Arms(champion, before.challenger, before.retired, before.share, salt=before.salt))
        self._put_into_service(
            Arms(
                champion=champion,
                # Another than the one the routes name must not answer in its place, with its share.
                challenger=await self._arm(routes.challenger, None),
                retired=await self._arm(routes.retired, None),
                share=routes.share,
                shadow=routes.shadow,
                salt=routes.salt,
            )
        )
        self._let_go(routes)
        # What was just loaded will live for long: the collector need not walk over it again and again.
        gc.freeze()

    async def _arm(self, entry: RouteEntry | None, before: Arm | None) -> Arm | None:
        if entry is None:
            return None
        known = self._loaded.get(entry.version)
        if known and known.entry.engine == entry.engine and known.entry.model_sha256 == entry.model_sha256:
            return known.arm
        case = self._desk.case
        try:
            arm = await self._load(entry)
        except (EvergreenError, OSError) as error:
            log.error("%s: version %s is not taken into service: %s", case.name, entry.version, error)  # noqa: TRY400
            self._metrics.swaps[case.name, "refused"] += 1
            self._failed_at = time.monotonic()
            return before
        if known:
            self._close_later(known.arm)
        self._loaded[entry.version] = _Loaded(entry, arm)
        self._metrics.swaps[case.name, "taken"] += 1
        log.info("%s: version %s is loaded as a %s", case.name, entry.version, arm.engine.kind)
        return arm

    async def _load(self, entry: RouteEntry) -> Arm:
        """The version, loaded and warm. Raises ArtifactError when it is not what was judged."""
        folder = self._folder(entry)
        engine = await asyncio.to_thread(load_engine, folder, entry, self._desk.case.contract)
        if not await answers_identically(engine, read_example(folder)):
            engine.close()
            raise AnswersDiffer(self._desk.case.name, entry.version)
        engine.on_batch = partial(self._metrics.batch, self._desk.case.name)
        return Arm(entry.version, engine)

    def _folder(self, entry: RouteEntry) -> Path:
        return self._copy.version(self._desk.case.name, entry.version)

    def _put_into_service(self, arms: Arms) -> None:
        self._desk.served.arms = arms
        if arms.champion:
            example = read_example(self._copy.version(self._desk.case.name, arms.champion.version))
            self._desk.typical = typical_values(example.rows)
            features = self._desk.case.contract.features
            self._desk.example = {name: column[0] for name, column in zip(features, example.rows.columns, strict=True)}

    def _let_go(self, routes: CaseRoutes) -> None:
        named = {entry.version for entry in (routes.champion, routes.challenger, routes.retired) if entry}
        serving = {arm.version for arm in self._desk.served.arms.all}
        for version in (named | serving) & self._leaving.keys():
            self._leaving.pop(version).cancel()
        loop = asyncio.get_running_loop()
        for version in set(self._loaded) - named - serving - self._leaving.keys():
            self._leaving[version] = loop.call_later(_KEPT_SECONDS, self._unload, version)

    def _unload(self, version: str) -> None:
        del self._leaving[version]
        self._loaded.pop(version).arm.engine.close()

    def _close_later(self, arm: Arm) -> None:
        asyncio.get_running_loop().call_later(_GRACE_SECONDS, arm.engine.close)
