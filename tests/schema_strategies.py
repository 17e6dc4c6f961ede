"""Hypothesis strategies for what a structural schema allows, its rules left out."""

import re

from hypothesis import strategies as st

PATHS = (
    *("a", "a/b.csv", "/data/x", "..", "../a", "a/..", "a/../b", "a..b", "..a", "a/..b/c", "é/ü"),
    *(
        "a\\..\\b",
        "%2e%2E/a",
        "a/%252e%252e%252Fb",
        "a%2f..",
        "%2e",
        "https://a/b",
        "file:/a",
        "a:b",
    ),
)
URIS = (
    *(
        "s3://bucket/a",
        "s3://bucket/../a",
        "file:///a/..",
        "memory://a..b",
        "gs://../x",
        "gs://a..b",
    ),
    *(
        "s3://key:secret@bucket",
        "s3://b?token=x",
        "s3://b#x",
        "s3://b/%2e%2e",
        "s3://b::file:///etc",
    ),
    *(
        "s3://b\\..\\c",
        "local://x",
        "http://169.254.169.254/x",
        "S3://b",
        "s3:/b",
        "s3://b c",
        "abfs://c",
    ),
)
METERS = (
    *(
        "http://meter",
        "http://meter:80/a?b=../c#d.e",
        "https://meter/a",
        "http://a:b@meter/",
        "http:///",
    ),
    *(
        "http://meter/../x",
        "http://meter/a/%2e%2e",
        "http://meter\\@other",
        "http://meter/..?a",
        "ftp://m",
    ),
    *("serial:/dev/ttyUSB0?baud=9600", "serial:/dev/../etc/x", "serial:/etc/passwd", "command:a b"),
    *("command:a ../b", "command:"),
)


def texts(schema):
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-validations"):
        return st.sampled_from(PATHS)
    told = schema.get("description", "")
    for words, samples in (("An address that fsspec", URIS), ("that says watts", METERS)):
        if words in told:
            return st.sampled_from([each for each in samples if len(each) >= schema["minLength"]])
    pattern = schema.get("pattern", "")
    if pattern.startswith("^(sa_sdp|") or "_" in pattern[:20]:
        return st.from_regex(pattern.replace("^", "").replace("$", ""), fullmatch=True)
    if pattern:
        body = re.sub(r"^\^|\$$", "", pattern)
        return st.from_regex(body, fullmatch=True).filter(
            lambda text: schema.get("minLength", 0) <= len(text) <= schema["maxLength"]
        )
    shortest = schema.get("minLength", 0)
    return st.text("abc_é", min_size=shortest, max_size=max(5, shortest))


def numbers(schema):
    low, high = schema["minimum"], schema["maximum"]
    if schema["type"] == "integer":
        near = st.integers(low, min(high, low + 4))
        return near | st.sampled_from([low, high, *(n for n in (16, 64, 128) if low <= n <= high)])
    flags = {
        "exclude_min": schema.get("exclusiveMinimum", False),
        "exclude_max": schema.get("exclusiveMaximum", False),
    }
    return st.floats(low, high, **flags) | st.sampled_from(
        [value for value in (0.05, 0.5, 1, 2) if low < value < high] or [(low + high) / 2]
    )


def values(schema):
    """What the schema allows, its rules left out."""
    match schema["type"]:
        case "string":
            return texts(schema)
        case "integer" | "number":
            return numbers(schema)
        case "boolean":
            return st.sampled_from(schema.get("enum", [True, False]))
        case "array":
            least = schema.get("minItems", 0)
            return st.lists(values(schema["items"]), min_size=least, max_size=least + 2)
        case "object" if "additionalProperties" in schema:
            keys = st.sampled_from(["a", "kubernetes.io/arch"])
            part = values(schema["additionalProperties"])
            return st.dictionaries(keys, part, min_size=schema.get("minProperties", 0))
        case "object" if "properties" not in schema:
            return st.sampled_from([{}, {"a": [1, "b", None]}])
    required = schema.get("required", [])
    parts = {name: values(part) for name, part in schema["properties"].items()}
    given_parts = {name: parts.pop(name) for name in required}
    return st.fixed_dictionaries(given_parts, optional=parts)
