"""The administrator's settings."""

import pytest

from edgetran_operator.settings import Settings, SettingsError, load_settings


def load(tmp_path, text="", **environ):
    path = tmp_path / "operator.yaml"
    path.write_text(text)
    return load_settings(path, environ)


def test_without_a_file_all_is_as_documented():
    assert load_settings(None, {}) == Settings()


def test_a_file_sets_what_it_names(tmp_path):
    found = load(
        tmp_path,
        """
namespaces: [a, b]
images: {cuda: "registry/x:1"}
allow: {hostPath: true}
workerPodPatch: {spec: {priorityClassName: high}}
resources: {profile: {limits: {memory: 1Gi}}}
maxLoopLagSeconds: 3
""",
    )
    assert found.namespaces == ("a", "b")
    assert found.images.cuda == "registry/x:1"
    assert found.images.cpu == Settings().images.cpu
    assert found.allow.host_path
    assert not found.allow.images
    assert found.worker_pod_patch == {"spec": {"priorityClassName": "high"}}
    assert found.resources.profile == {"limits": {"memory": "1Gi"}}
    assert found.max_loop_lag_seconds == 3


def test_the_environment_counts_more_than_the_file(tmp_path):
    found = load(
        tmp_path,
        "metricsPort: 1\nlogLevel: debug",
        EDGETRAN_METRICS_PORT="2",
        EDGETRAN_NAMESPACES="x,y",
        EDGETRAN_LOG="json",
    )
    assert found.metrics_port == 2
    assert found.namespaces == ("x", "y")
    assert found.log_level == "debug"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("metricPort: 1", "metricPort: Forbidden: unknown setting; known settings: "),
        ("metricsPort: many", 'metricsPort: Invalid value: "many": must be a whole number'),
        ("metricsPort: true", "metricsPort: Invalid value: true: must be a whole number"),
        ("maxLoopLagSeconds: x", "must be a number"),
        (
            "logLevel: loud",
            'logLevel: Unsupported value: "loud": supported values: "debug", "info"',
        ),
        ("namespaces: default", 'namespaces: Invalid value: "default": must be a list of names'),
        ("allow: {images: 'yes'}", 'allow.images: Invalid value: "yes": must be true or false'),
        ("allow: [images]", "allow: Invalid value: [1 entry]: must be a mapping"),
        (
            "allow: {meters: [http://a/b c]}",
            'allow.meters[0]: Invalid value: "http://a/b c": must be text like ^(https?://',
        ),
        (
            "allow: {trackers: [mlflow.lan]}",
            'allow.trackers[0]: Invalid value: "mlflow.lan": must be text like ^https?://',
        ),
        (
            "allow: {rayAddresses: [head, 'head:10001/x']}",
            'allow.rayAddresses[1]: Invalid value: "head:10001/x": must be text like ^[A-Za-z0-9',
        ),
        (
            "defaultStorage: {size: much}",
            'defaultStorage.size: Invalid value: "much": must be text ',
        ),
        ("allow: {meters: [1]}", "allow.meters: Invalid value: [1 entry]: must be a list of names"),
        (
            "networkPolicy: {metricsFrom: [a]}",
            "networkPolicy.metricsFrom: Invalid value: [1 entry]: must be a list of mappings",
        ),
        (
            "allow: {all: true}",
            "allow.all: Forbidden: unknown setting; known settings: annotations, commands",
        ),
        ("images: {cpu: 1}", "images.cpu: Invalid value: 1: must be text"),
        ("workerPodPatch: x", 'workerPodPatch: Invalid value: "x": must be a mapping'),
        ("- a", "settings: Invalid value: [1 entry]: must be a mapping"),
        ("a: [", "allowed is a YAML file of settings"),
    ],
)
def test_a_mistake_says_where_what_and_what_is_allowed(tmp_path, text, words):
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)
    assert words in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match="nowhere"):
        load_settings(tmp_path / "nowhere.yaml", {})


def test_a_mistake_in_the_environment_is_one_too():
    with pytest.raises(SettingsError, match="EDGETRAN_PROBE_PORT"):
        load_settings(None, {"EDGETRAN_PROBE_PORT": "http"})
