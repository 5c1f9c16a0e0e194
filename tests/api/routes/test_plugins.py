"""What a web process says of plug-ins: in its log when it starts, in the catalog, in a refusal, and its document."""

from __future__ import annotations

from pathlib import Path

import plugin_folder

from hsu_core.spec import plugins

SPECS = """
class LabNet(PluginImageModel):
    kind: Literal["lab_net"] = "lab_net"
    builder: ClassVar[str] = "nowhere:Net"
    width: int = 3

    def geometry(self, facts: ImageFacts) -> Geometry:
        if facts.classes == 100:
            raise ZeroDivisionError("a hundred")
        return Geometry((Layer("classifier", "linear", facts.classes, 64, is_final=True),))
"""


def test_a_web_process_tells_of_its_plug_ins_and_of_those_that_it_cannot_use(tmp_path: Path) -> None:
    entries = {plugins.MODELS: {"lab_net": "lab_specs:LabNet", "lab_other": "lab_specs:Gone"}}
    plugin_folder.install(tmp_path, "lab-nets", entries, lab_specs=SPECS)
    seen = plugin_folder.asked(
        tmp_path,
        """
        import json, logging, os
        said = []
        logging.Handler.handle = lambda self, record: said.append([record.levelname, record.getMessage()])
        os.environ["HSU_DATABASE_URL"] = "postgresql+psycopg://nowhere/none"
        from api.app import create_app
        from hsu_jobs.spec_faults import described
        from api.routes import catalog
        from hsu_jobs.spec import parse
        from pydantic import ValidationError

        app = create_app()
        asked = {"dataset": {"kind": "digits"}, "regularizer": {"kind": "none"}, "duration": {"steps": 1}}
        def refused(**change):
            try:
                parse(asked | change)
            except ValidationError as error:
                (fault,) = error.errors()
                return described(fault, fault["loc"], asked).detail
        menus = catalog._fixed_menus()
        print(json.dumps({
            "said": [line for line in said if "plug-in" in line[1]],
            "entries": [entry.model_dump() for entry in menus["models"] if entry.plugin],
            "broken": [broken.model_dump() for broken in menus["broken_plugins"]],
            "schema": app.openapi()["components"]["schemas"]["LabNet"]["properties"]["kind"]["const"],
            "refused": refused(model={"kind": "lab_other"}),
            "failed": refused(model={"kind": "lab_net"}, dataset={"kind": "cifar100"}),
            "costs": parse(asked | {"model": {"kind": "lab_net"}}).costs().parameters,
        }))
        """,
    )
    reason = "AttributeError: module 'lab_specs' has no attribute 'Gone'"
    line = f"the plug-in lab-nets 1.0 cannot bring lab_other (hsu.models): {reason}"
    assert seen["said"] == [["INFO", "plug-ins: lab-nets 1.0"], ["ERROR", line]]
    (entry,) = seen["entries"]
    assert (entry["kind"], entry["plugin"]) == ("lab_net", {"distribution": "lab-nets", "version": "1.0"})
    assert entry["parameters"]["properties"]["width"]["default"] == 3
    brought = {"group": "hsu.models", "kind": "lab_other", "distribution": "lab-nets", "version": "1.0"}
    assert seen["broken"] == [brought | {"reason": reason}]
    assert seen["schema"] == "lab_net"
    assert seen["refused"].endswith(f"lab_net. But {line}")
    assert seen["failed"] == "lab_net failed for cifar100: ZeroDivisionError: a hundred"
    assert seen["costs"] == 640
