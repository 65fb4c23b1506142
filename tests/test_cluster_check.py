"""`cnnbench cluster check`: each fault is found in its line, with its remedy, and the example files have none."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cnnbench.cluster_check import Finding, check
from cnnbench.commands.cli import app

ROOT = Path(__file__).parents[1]
EXAMPLES = {"aws": ROOT / "cluster.yaml", "local": ROOT / "clusters" / "on_prem.yaml"}
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Writes an example file, filled in, with a text replaced; the laptop has a token and a key."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(ROOT)
    for name in (".ray/auth_token", ".ssh/REAL-key"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("secret")
        (tmp_path / name).chmod(0o600)

    def write(example: str, old: str = "", new: str = "", count: int = -1) -> Path:
        text = EXAMPLES[example].read_text()
        for number, word in enumerate(re.findall(r"REPLACE-WITH-[A-Z-]*ADDRESS\b", text), 1):
            text = text.replace(word, f"10.0.0.{number}", 1)
        text = text.replace("REPLACE-WITH-THE-KEY", "REAL-key").replace("REPLACE-", "real-")
        assert old in text
        path = tmp_path / "cluster.yaml"
        path.write_text(text.replace(old, new, count) if old else text + new)
        return path

    return write


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_that_is_filled_in_has_no_fault(make: Make, example: str) -> None:
    assert check(make(example)) == []


FAULTS = [
    # what stands in the example · what is written instead · a word of the line that is named · what is said of it
    ("aws", "cluster_name: cnnbench", "cluster_nam: cnnbench", "cluster_nam:", "cluster_nam: unknown key; Ray knows"),
    ("aws", "max_workers: 10\n", "max_workers: ten\n", "ten", "max_workers: 'ten' is not of type 'integer'"),
    ("aws", "        resources: {CPU: 0}\n", "", "head:", "head: 'resources' is a required property"),
    ("aws", "ami-real-WITH-THE-PINNED-AMI", "ami-REPLACE-ME", "ami-REPLACE-ME", "ami-REPLACE-ME is still there"),
    ("aws", "speed: 1.0", "speed: 1.0\nmax_workers: 3", "max_workers: 3", "max_workers: stands twice"),
    ("aws", "region: us-west-2", "regoin: us-west-2", "regoin", "provider.regoin: unknown key, which Ray would ignore"),
    ("aws", "ImageId: a", "Ami: a", "node_config:", "no ImageId: the image is not pinned"),
    ("aws", "IamInstanceProfile: {", "Profile: {", "node_config:", "no IamInstanceProfile"),
    ("aws", "SecurityGroupIds: [", "Groups: [", "node_config:", "lets the whole world reach SSH"),
    ("aws", "HttpTokens: required", "HttpTokens: optional", "HttpTokens", "MetadataOptions: IMDSv2 is not required"),
    ("aws", "MetadataOptions:", "Options:", "node_config:", "MetadataOptions: IMDSv2 is not required"),
    ("aws", "resources: {CPU: 0}", "resources: {CPU: 4}", "{CPU: 4}", "resources: trials would run on the head"),
    ("aws", "InstanceType: m7i.xlarge", "InstanceMarketOptions: {}", "Market", "the head is a spot instance"),
    ("aws", "max_workers: 10\n", "", "# A Ray cluster", "no max_workers"),
    ("aws", "        max_workers: 8\n", "", "gpu_spot:", "gpu_spot: no max_workers"),
    ("aws", "        min_workers: 0\n", "        min_workers: 2\n", "min_workers: 2", "min_workers 2: they cost money"),
    ("aws", "<<: *gpu", "<<: *gpu\n            InstanceType: p5", "p5", "p5, but gpu_on_demand has g6.2xlarge"),
    ("aws", ": platform\n", ": plattform\n", "plattform", "plattform: nothing there"),
    ("aws", '    "~/.ray/auth_token": ~/.ray/auth_token\n', "", "file_mounts:", "file_mounts: no token"),
    ("aws", "chmod 600 ~/.ray/auth_token\n    - com", "true\n    - com", "setup_commands", "makes the token readable"),
    ("aws", "RAY_AUTH_MODE=token ray start --address", "ray start --address", ">-", "starts without a token"),
    ("aws", "unset OMP_NUM_THREADS; ulimit", "ulimit", ">-", "OMP_NUM_THREADS=1"),
    ("aws", "-host=127.0.0.1", "-host=0.0.0.0", ">-", "--dashboard-host=0.0.0.0 listens for other machines"),
    ("aws", "-host=127.0.0.1", "-host '::'", ">-", "--dashboard-host=:: listens for other machines"),
    ("aws", "head_setup_commands: []", "head_setup_commands: [mlflow server --host 10.0.0.1]", "mlflow",
     "--host=10.0.0.1 listens"),
    ("aws", " --autoscaling-config=~/ray_bootstrap_config.yaml", "", ">-", "the head would never start a worker"),
    ("aws", "--head --port=6379", "--head --port=6380", ">-", "the head listens on port 6380"),
    ("aws", "-c ~/cnnbench-source/constraints.txt -e", "-e", "pip install", "in whatever version is the newest"),
    ("aws", "initialization_commands: []", "initialization_commands: [pip install boto3 ray==2.60.0]", "boto3",
     "installs boto3 in whatever"),
    ("aws", "python3.11 -m venv", "python3 -m venv", "-m venv", "makes an environment of any Python"),
    ("aws", '== "2.60.0"', '== "2.59.0"', "2.59.0", "Ray 2.59.0, but this machine has 2.60.0"),
    ("aws", "head_setup_commands: []", "head_setup_commands: [pip install ray==2.9.3]", "2.9.3", "Ray 2.9.3, but"),
    ("aws", "import cnnbench, mlflow", "import mlflow", "import", "not end in a check that cnnbench can be imported"),
    ("local", "head_ip: 10.0.0.1", "head_ip: 10.0.0.256", "head_ip", "'10.0.0.256' is neither an IP address nor a"),
    ("local", "head_ip: 10.0.0.1", "head_ip: my head", "head_ip", "'my head' is neither"),
    ("local", "10.0.0.3]", "10.0.0.1]", "worker_ips", "10.0.0.1 stands twice"),
    ("local", "type: local", "type: local\n    head_pi: 10.0.0.1", "head_pi", "provider.head_pi: unknown key"),
    ("local", "    head_ip: 10.0.0.1\n", "", "provider:", "head_ip: missing"),
    ("local", "~/.ssh/REAL-key", "~/.ssh/other", "other", "auth.ssh_private_key: ~/.ssh/other: no such file"),
]  # fmt: skip


@pytest.mark.parametrize(("example", "old", "new", "in_line", "says"), FAULTS)
def test_a_fault_is_found_in_its_line(make: Make, example: str, old: str, new: str, in_line: str, says: str) -> None:
    path = make(example, old, new, 1)
    found = [finding for finding in check(path) if says in str(finding)]
    assert found, [str(finding) for finding in check(path)]
    lines = path.read_text().splitlines()
    assert [line for line in (lines[finding.line - 1] for finding in found) if in_line in line]
    assert all(finding.remedy for finding in found)


def _of_group(text: str) -> str:
    return f"    region: us-west-2\n    security_group: {{GroupName: g, IpPermissions: [{text}]}}"


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("{FromPort: 22, ToPort: 22, IpProtocol: tcp, IpRanges: [{CidrIp: 0.0.0.0/0}]}", "22 are open to everyone"),
        ("{FromPort: 22, ToPort: 22, IpProtocol: tcp, Ipv6Ranges: [{CidrIpv6: '::/0'}]}", "open to everyone (::/0)"),
        ("{FromPort: 8265, ToPort: 8265, IpProtocol: tcp, IpRanges: [{CidrIp: 9.9.9.9/32}]}", "8265 (Ray's dashboard)"),
        ("{FromPort: 5000, ToPort: 6500, IpProtocol: tcp, IpRanges: [{CidrIp: 9.9.9.9/32}]}", "5000 (MLflow)"),
        ("{IpProtocol: '-1', IpRanges: [{CidrIp: 9.9.9.9/32}]}", "10001 (Ray clients)"),
    ],
)
def test_a_port_that_a_group_opens_is_found(make: Make, rule: str, says: str) -> None:
    path = make("aws", "    region: us-west-2", _of_group(rule), 1)
    (found,) = [finding for finding in check(path) if says in str(finding)]
    assert found.where == "provider.security_group.IpPermissions.0"


def test_ssh_from_ones_own_address_is_let_through(make: Make) -> None:
    rule = "{FromPort: 22, ToPort: 22, IpProtocol: tcp, IpRanges: [{CidrIp: 9.9.9.9/32}]}"
    assert check(make("aws", "    region: us-west-2", _of_group(rule), 1)) == []


def test_a_token_that_others_may_read_or_that_is_not_there_is_found(make: Make, tmp_path: Path) -> None:
    path = make("aws")
    (tmp_path / ".ray" / "auth_token").chmod(0o644)
    (found,) = check(path)
    assert "mode 644" in found.problem and found.remedy == "chmod 600 ~/.ray/auth_token"
    (tmp_path / ".ray" / "auth_token").unlink()
    (found,) = check(path)
    assert "no such file" in found.problem and "ray get-auth-token --generate" in found.remedy


def test_a_container_image_without_a_version_is_found(make: Make) -> None:
    assert [finding.where for finding in check(make("aws", new="docker: {image: 'rayproject/ray:latest'}\n"))] == [
        "docker.image"
    ]
    (found,) = check(make("aws", new="docker: {image: 'rayproject/ray:2.59.0'}\n"))
    assert "Ray 2.59.0" in found.problem
    assert check(make("aws", new="docker: {image: 'rayproject/ray:2.60.0'}\n")) == []


def test_missing_start_commands_are_found_because_rays_own_are_open(make: Make) -> None:
    path = make("local")
    path.write_text(path.read_text().partition("head_start_ray_commands")[0])
    assert [finding.where for finding in check(path)] == ["head_start_ray_commands", "worker_start_ray_commands"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "line 1: not YAML"),
        ("- a", "not a mapping"),
        ("a: !!python/object/apply:os.system [ls]", "not YAML: could not determine a constructor"),
        ("&a\na: *a", "nested deeper than 20"),
        ("".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9 if n else '1')}]\n" for n in range(9)), "50000 values"),
    ],
)
def test_what_is_no_launcher_file_is_one_finding(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    (found,) = check(path)
    assert says in str(found)


def test_a_mapping_that_is_inherited_has_the_lines_of_its_anchor_and_its_own(make: Make) -> None:
    """gpu_spot takes its node_config from gpu_on_demand."""
    path = make("aws", "<<: *gpu\n", "<<: *gpu\n            ImageId: ''\n", 1)
    (found,) = check(path)
    assert found.where == "available_node_types.gpu_spot.node_config"
    path = make("aws", "InstanceType: g6.2xlarge", "InstanceType: 7", 1)
    assert check(path) == []


def test_the_cli_prints_each_finding_and_exits_with_one(make: Make) -> None:
    path = make("aws", "HttpTokens: required", "HttpTokens: optional", 1)
    ran = CliRunner().invoke(app, ["cluster", "check", str(path)])
    assert ran.exit_code == 1
    assert re.search(
        r"cluster\.yaml, line \d+: available_node_types\.head\.node_config\.MetadataOptions: IMDS", ran.output
    )
    ran = CliRunner().invoke(app, ["cluster", "check", str(make("aws"))])
    assert (ran.exit_code, ran.output.strip().endswith("no findings")) == (0, True)
    assert CliRunner().invoke(app, ["cluster", "check", "nowhere.yaml"]).exit_code == 1


def test_a_finding_reads_as_line_field_problem_and_remedy() -> None:
    assert str(Finding(3, "a.b", "wrong", "mend it")) == "line 3: a.b: wrong; mend it"
