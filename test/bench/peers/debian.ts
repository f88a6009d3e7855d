/** Forwarders that Debian has, with the options that are best for them on loopback. */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { BACKEND, type Peer } from './peer.ts';

const LISTEN = 'bind=127.0.0.1,reuseaddr,fork,nodelay,backlog=4096';
const SOCAT = { name: 'socat', debian: 'socat' };

/** What docker runs for each port that it publishes where iptables cannot. */
export const dockerProxy: Peer = {
  name: 'docker-proxy',
  what: 'docker-proxy of docker.io, in one hop',
  hops: 1,
  udp: true,
  program: { name: 'docker-proxy', debian: 'docker.io' },
  start({ processes, front, back }) {
    for (const protocol of ['tcp', 'udp'])
      processes.start(
        'docker-proxy',
        ...['-proto', protocol, '-host-ip', '127.0.0.1', '-host-port', String(front)],
        ...['-container-ip', '127.0.0.1', '-container-port', String(back)],
      );
  },
};

export const socat: Peer = {
  name: 'socat',
  what: 'socat with fork, in one hop',
  hops: 1,
  udp: true,
  program: SOCAT,
  start({ processes, front, back }) {
    processes.start('socat', `TCP-LISTEN:${front},${LISTEN}`, `TCP:127.0.0.1:${back},nodelay`);
    processes.start('socat', `UDP-LISTEN:${front},bind=127.0.0.1,fork`, `UDP:127.0.0.1:${back}`);
  },
};

/** Datagrams keep their bounds on a unix socket of type SOCK_SEQPACKET (5). */
export const socatPair: Peer = {
  name: 'socat-pair',
  what: 'two socat with fork, unix sockets between them',
  hops: 2,
  udp: true,
  program: SOCAT,
  async start({ processes, dir, front, back, signal }) {
    const [streams, packets] = [join(dir, 'streams'), join(dir, 'packets')];
    processes.start('socat', `UNIX-LISTEN:${streams},fork,backlog=4096`, `TCP:127.0.0.1:${back},nodelay`);
    processes.start('socat', `UNIX-LISTEN:${packets},fork,type=5`, `UDP:127.0.0.1:${back}`);
    for (const path of [streams, packets]) await untilThere(path, signal);
    processes.start('socat', `TCP-LISTEN:${front},${LISTEN}`, `UNIX-CONNECT:${streams}`);
    processes.start('socat', `UDP-LISTEN:${front},bind=127.0.0.1,fork`, `UNIX-CONNECT:${packets},type=5`);
  },
};

/** It forwards to the same port only, for UDP. */
export const pasta: Peer = {
  name: 'pasta',
  what: 'pasta of passt, by splice into a network namespace',
  hops: 1,
  udp: true,
  program: { name: 'pasta', debian: 'passt' },
  namespace: { samePort: true },
  start({ processes, front }) {
    const stayRoot = process.getuid?.() === 0 ? ['--runas', '0'] : [];
    processes.start(
      'pasta',
      ...['-f', '-q', ...stayRoot, '-t', `127.0.0.1/${front}`, '-u', `127.0.0.1/${front}`],
      ...['-T', 'none', '-U', 'none', '--', process.execPath, BACKEND, '0.0.0.0', String(front)],
    );
  },
};

export const rootlesskit: Peer = {
  name: 'rootlesskit',
  what: 'rootlesskit, builtin port driver, into a network namespace',
  hops: 1,
  udp: true,
  program: { name: 'rootlesskit', debian: 'rootlesskit slirp4netns uidmap' },
  namespace: { samePort: false },
  refuses: () =>
    process.getuid?.() === 0
      ? 'it does not run as root; an ordinary user with an entry in /etc/subuid can'
      : undefined,
  start({ processes, dir, front, back }) {
    processes.start(
      'rootlesskit',
      ...[`--state-dir=${join(dir, 'state')}`, '--net=slirp4netns', '--disable-host-loopback'],
      ...[
        '--port-driver=builtin',
        '-p',
        `127.0.0.1:${front}:${back}/tcp`,
        '-p',
        `127.0.0.1:${front}:${back}/udp`,
      ],
      ...[process.execPath, BACKEND, '0.0.0.0', String(back)],
    );
  },
};

async function untilThere(path: string, signal: AbortSignal): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    if (
      await access(path).then(
        () => true,
        () => false,
      )
    )
      return;
    await delay(10, undefined, { signal });
  }
  throw new Error(`${path} was not made within 5 s`);
}
