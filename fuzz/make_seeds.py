#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets: small files of every kind, from nothing but this script and the test fixtures' templates."""

import collections
import io
import json
import pickle
import struct
import sys
import tarfile
import types
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
FIXTURES = HERE.parent / "tests" / "fixtures"


def write(target, name, content):
    path = HERE / "seeds" / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def safetensors(tensors, metadata=None):
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + data


class Tensor:
    """A tensor as torch pickles it: a view of a storage."""

    def __init__(self, kind, key, shape, stride, offset=0, values=4):
        self.storage, self.view = (kind, key, values), (offset, shape, stride)

    def __reduce__(self):
        offset, shape, stride = self.view
        return sys.modules["torch._utils"]._rebuild_tensor_v2, (self.storage, offset, shape, stride, False, collections.OrderedDict())


class TorchPickler(pickle.Pickler):
    def persistent_id(self, value):
        if isinstance(value, tuple) and len(value) == 3 and isinstance(value[0], str) and value[0].endswith("Storage"):
            kind, key, values = value
            return "storage", getattr(sys.modules["torch"], kind), key, "cpu", values
        return None


def torch_archive(state, storages, name="archive", method=zipfile.ZIP_STORED):
    """A file as `torch.save` writes it, without torch: its classes are only names in a pickle."""
    for module in ("torch", "torch._utils"):
        sys.modules.setdefault(module, types.ModuleType(module))
    for kind in ("FloatStorage", "HalfStorage", "BFloat16Storage", "LongStorage"):
        setattr(sys.modules["torch"], kind, type(kind, (), {"__module__": "torch"}))
    rebuild = types.FunctionType((lambda *args: None).__code__, {}, "_rebuild_tensor_v2")
    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    sys.modules["torch._utils"]._rebuild_tensor_v2 = rebuild
    pickled = io.BytesIO()
    TorchPickler(pickled, protocol=2).dump(state)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        entries = {"data.pkl": pickled.getvalue(), "byteorder": b"little", **{f"data/{key}": data for key, data in storages.items()}}
        for entry, data in {**entries, "version": b"3\n"}.items():
            file.writestr(zipfile.ZipInfo(f"{name}/{entry}"), data, method)
    return out.getvalue()


def record(number, **more):
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "a \"cat\" \\ é"}]
    return {"id": str(number), "image": f"{number}.png", "conversations": turns, **more}


def archive(entries, form=tarfile.USTAR_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    # Tar pads to 20 blocks; two empty ones end an archive.
    bytes_ = out.getvalue()
    return bytes_[: len(bytes_.rstrip(b"\0")) // 512 * 512 + 512 * 3]


def main():
    four = struct.pack("<4f", 1, -2, 0.5, 3e38)
    write("safetensors", "two", safetensors({"a": ("F32", [2, 2], four), "b": ("F16", [3], b"\0\x3c\0\xbc\0\x7c")}))
    kinds = {"m": ("BF16", [2, 3], bytes(range(12))), "d": ("F64", [1, 1], struct.pack("<d", 0.1))}
    write("safetensors", "kinds", safetensors(kinds | {"i": ("I64", [1], bytes(8)), "q": ("F8_E4M3", [2], b"ab")}))
    write("safetensors", "empty", safetensors({"z": ("F32", [0, 5], b""), "s": ("F32", [], four[:4])}, {"format": "pt"}))
    write("safetensors", "none", safetensors({}))

    plain = {"a": Tensor("FloatStorage", "0", (2, 2), (2, 1)), "b": Tensor("HalfStorage", "1", (3,), (1,), 1)}
    storages = {"0": four, "1": b"\0\x3c\0\xbc\0\x7c\0\0"}
    write("torch_archive", "plain", torch_archive(plain, storages))
    lightning = {"epoch": 1, "state_dict": collections.OrderedDict(plain), "hyper_parameters": {"lr": 1e-5, "layers": [1, None, "mix"]}}
    write("torch_archive", "lightning", torch_archive(lightning, storages, "model"))
    views = {"t": Tensor("FloatStorage", "0", (2, 2), (1, 2)), "e": Tensor("BFloat16Storage", "1", (0, 5), (5, 1)),
             "s": Tensor("LongStorage", "0", (), (), 1, 2)}
    write("torch_archive", "views", torch_archive(views, storages))
    write("torch_archive", "packed", torch_archive(plain, storages, method=zipfile.ZIP_DEFLATED))

    write("json_elements", "array", json.dumps([record(0), record(1, language="de"), {"id": 2}]))
    write("json_elements", "spaced", "\ufeff \n[ {} ,\n[[\"]\"]], 1.5e3, \"\\\\\\\"\", null ]\n")
    write("json_elements", "lines", "\n".join(json.dumps(record(n)) for n in range(3)) + "\r\n\n{\"id\": 3}")
    write("json_elements", "messages", json.dumps([{"messages": [{"role": "user", "content": "x" * 520}]}]))

    header = "index\timage\tquestion\tA\tB\tanswer\timage_path\n"
    picture = "iVBORw0KGgo" + "A" * 60
    write("tsv_rows", "rows", f"{header}0\t{picture}\tWhat?\tcat\tdog\tA\t\n1\t0\t\"a \"\"b\"\"\tc\nd\"\tx\ty\tB\t\n")
    write("tsv_rows", "lists", f"{header}\r\n5\t['{picture}', '{picture}']\tq\t\t\ta\t\n6\t\tq\t\t\ta\t['a.png', 'b.png']\r\n7\t9\t\n")
    write("tsv_rows", "quoted", "\ufeff\"index\"\t\"question\"\tanswer\n\"1\"\t\"\"\t5\" pipe")

    two = [("a/0.png", b"\x89PNG\r\n\x1a\n"), ("a/0.json", json.dumps(record(0)).encode()), ("a/1.txt", b"a caption")]
    write("tar_entries", "ustar", archive(two + [("a/1.left.jpg", b"\xff\xd8"), ("a/2.x", b"")]))
    long = "f/" + "n" * 120 + ".json"
    write("tar_entries", "gnu", archive([("f", None), (long, b'{"id": 1}'), ("l.png", "elsewhere")], tarfile.GNU_FORMAT))
    write("tar_entries", "pax", archive([(long, b"{}"), ("é.txt", b"x")], tarfile.PAX_FORMAT))

    for path in sorted(FIXTURES.glob("*/chat_template.jinja")):
        write("chat_template", path.parent.name, path.read_bytes())
    for path in sorted(FIXTURES.glob("*/tokenizer_config.json")):
        template = json.loads(path.read_text()).get("chat_template")
        if isinstance(template, str):
            write("chat_template", path.parent.name, template)
    write("chat_template", "python", "{{ tools | tojson(indent=2) }}{{ strftime_now('%d %b %Y') }}{{ 'a b'.split()[-1].title() }}")
    write("chat_template", "loops", "{%- set ns = namespace(n=0) -%}{% for m in messages[::-1] %}{% generation %}{{ m.role ~ loop.index }}"
          "{% endgeneration %}{% set ns.n = ns.n + 1 %}{% break %}{% endfor %}{{ ns.n }}{{ raise_exception('no') }}")
    write("chat_template", "macros", "{% macro f(x, y=1) %}[{{ x * y }}]{% endmacro %}{{ f('y', 3) }}{% for k, v in messages[0] | items %}"
          "{{ k | upper | replace('R', v | length) }}{% else %}none{% endfor %}{{ range(3) | list | join('-') }}")


main()
