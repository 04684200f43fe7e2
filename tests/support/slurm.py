"""A Slurm cluster of this one machine, in a directory of its own: munged, slurmctld and slurmd."""
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

from daemon import wait_for

PROGRAMS = ('munged', 'slurmctld', 'slurmd', 'sbatch', 'squeue', 'scancel', 'sinfo')


def missing():
    """Why there can be no cluster here; empty if there can be one."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]
    if absent:
        return f'{", ".join(absent)} not installed (Debian: slurm-wlm, munge)'
    return '' if os.geteuid() == 0 else 'slurmd needs root'


def search_path():
    return os.environ.get('PATH', '') + ':/usr/sbin:/sbin'


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


class SlurmCluster:
    def __init__(self, cpus=4):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix='paretod-slurm-'))
        self.directory.chmod(0o755)
        self.cpus = cpus
        self.daemons = []
        self.environment = {**os.environ, 'PATH': search_path(),
                            'SLURM_CONF': str(self.directory / 'slurm.conf')}

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.daemons):
            process.terminate()
        for process in reversed(self.daemons):
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self):
        key = self.directory / 'munge.key'
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        for name in ('state', 'spool'):
            (self.directory / name).mkdir()
        (self.directory / 'slurm.conf').write_text(self.configuration())
        # --force: it minds that the directories above this one are open to others.
        self.run_daemon('munged', '--foreground', '--force', f'--key-file={key}',
                        *(f'--{what}={self.directory}/munge.{what.split("-")[0]}'
                          for what in ('socket', 'pid-file', 'log-file', 'seed-file')))
        wait_for((self.directory / 'munge.socket').exists, 'munged')
        self.run_daemon('slurmctld', '-D')
        self.run_daemon('slurmd', '-D', '-N', 'local')
        wait_for(self.idle, f'an idle node; {self.logs()}', 60)

    def configuration(self):
        here, host = self.directory, socket.gethostname().split('.')[0]
        return f'''
ClusterName=paretod
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={here}/munge.socket
StateSaveLocation={here}/state
SlurmdSpoolDir={here}/spool
SlurmctldPidFile={here}/slurmctld.pid
SlurmdPidFile={here}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
MailProg=/bin/true
SwitchType=switch/none
ReturnToService=2
KillWait=30
SchedulerParameters=batch_sched_delay=0,sched_interval=1
NodeName=local NodeHostname={host} NodeAddr=127.0.0.1 CPUs={self.cpus} State=UNKNOWN
PartitionName=all Nodes=local Default=YES MaxTime=UNLIMITED State=UP
'''

    def run_daemon(self, name, *arguments):
        program = shutil.which(name, path=search_path())
        with open(self.directory / f'{name}.out', 'ab') as log:
            self.daemons.append(subprocess.Popen([program, *arguments], env=self.environment,
                                                 stdout=log, stderr=log))

    def logs(self):
        return '\n'.join(f'{path.name}: {path.read_text(errors="replace")[-1500:]}'
                         for path in sorted(self.directory.glob('*.out')))

    def command(self, *words, **more):
        done = subprocess.run(words, env={**self.environment, **more}, text=True,
                              capture_output=True, timeout=60)
        return done.returncode, done.stdout.strip(), done.stderr.strip()

    def idle(self):
        for process in self.daemons:
            assert process.poll() is None, self.logs()
        status, out, _ = self.command('sinfo', '-h', '-o', '%T')
        return status == 0 and out == 'idle'

    def submit(self, script, *options, **environment):
        status, out, err = self.command('sbatch', '--parsable', *options, str(script), **environment)
        assert status == 0, (err, self.logs())
        return out.split(';')[0]

    def queued(self):
        """States of the jobs that have not ended."""
        status, out, err = self.command('squeue', '-h', '-r', '-o', '%T')
        assert status == 0, err
        return out.split()
