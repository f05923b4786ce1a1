"""A SLURM cluster of this machine alone, on loopback: its daemons, in a folder of its own."""

import os
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")


def is_installed():
    """Whether the daemons are there, and may be started: munge insists on a user of its own."""
    return os.geteuid() == 0 and all(map(shutil.which, DAEMONS))


def _port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _conf(folder):
    host = socket.gethostname().split(".")[0]
    return f"""
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={_port()}
SlurmdPort={_port()}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=2,bf_interval=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def slurm_here(folder: Path):
    """Start a cluster with one node of two cores; yields the environment that its commands need."""
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir()
    folder.chmod(0o755)
    conf, key = folder / "slurm.conf", folder / "munge.key"
    conf.write_text(_conf(folder))
    key.write_bytes(secrets.token_bytes(64))
    key.chmod(0o400)
    env = {**os.environ, "SLURM_CONF": str(conf)}
    files = ("key-file", "munge.key"), ("socket", "munge.socket"), ("pid-file", "munge/pid")
    options = [f"--{option}={folder / name}" for option, name in files]
    log, seed = f"--log-file={folder}/munge/log", f"--seed-file={folder}/munge/seed"
    commands = [
        ["munged", "--foreground", "--force", *options, log, seed],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D"],
    ]
    daemons = []
    try:
        for command in commands:
            output = (folder / f"{command[0]}.out").open("wb")
            daemons.append(subprocess.Popen(command, env=env, stdout=output, stderr=output))
            time.sleep(1)
        _wait_for_node(env)
        yield env
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait()


def _wait_for_node(env):
    for _ in range(60):
        command = ["sinfo", "--noheader", "--format=%T"]
        state = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if state.stdout.strip() == "idle":
            return
        time.sleep(1)
    raise RuntimeError(f"the node is not idle: {state.stdout} {state.stderr}")
