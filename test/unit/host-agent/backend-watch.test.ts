import { afterEach, describe, expect, it } from 'vitest';
import { BackendWatch, isUnreachable } from '../../../host-agent/data/backend-watch.ts';
import type { ActiveLink } from '../../../host-agent/data/tunnel.ts';
import { BridgeError, ERRNO } from '../../../shared/errors.ts';
import { silentLogger } from '../../../shared/logger.ts';
import { until } from '../../helpers/processes.ts';

const LINK = {} as ActiveLink;
const refused = () => new BridgeError('DIAL_REFUSED', 'nobody listens');

const watches: BackendWatch[] = [];
afterEach(() => {
  for (const watch of watches.splice(0)) watch.close();
});

/** A watch over a port and a container that do what `world` says; `said` is what was asked of the port. */
function watched(
  world: { up: boolean; taken?: boolean; unsupported?: boolean; link?: boolean },
  held = true,
) {
  const said: string[] = [];
  const states: string[] = [];
  let probes = 0;
  const watch: BackendWatch = new BackendWatch({
    name: 'a forward',
    log: silentLogger(),
    onState: () => void states.push(watch.state),
    links: {
      whenUp: async () => {
        if (world.link === false) throw new BridgeError('NO_LINK', 'no link');
        return LINK;
      },
    },
    probe: async () => {
      probes++;
      if (world.unsupported) throw new BridgeError('UNSUPPORTED', 'a vpnkit');
      if (!world.up) throw refused();
    },
    port: {
      held,
      listen: async () => {
        if (world.taken) throw new BridgeError('PORT_IN_USE', 'taken');
        said.push('listen');
      },
      refuse: () => void said.push('refuse'),
    },
  });
  watches.push(watch);
  return { watch, said, states, probes: () => probes };
}

const listening = (watch: BackendWatch) => until('it to listen', () => watch.state === 'listening');

describe('BackendWatch', () => {
  it('goes from waiting to listening with the container, and back with a client that it refuses', async () => {
    const world = { up: false };
    const { watch, said, states, probes } = watched(world);
    await until('a few probes', () => probes() >= 3);
    expect([watch.state, said]).toEqual(['waiting', []]);
    world.up = true;
    await listening(watch);
    const before = probes();
    world.up = false;
    watch.dialFailed(ERRNO.ENOBUFS);
    watch.dialFailed(ERRNO.ECONNABORTED);
    expect(watch.state).toBe('listening');
    watch.dialFailed(ERRNO.ECONNREFUSED);
    watch.dialFailed(ERRNO.ECONNREFUSED); // of another client, at the same time
    expect([watch.state, said]).toEqual(['waiting', ['listen', 'refuse']]);
    await until('it to look again', () => probes() > before);
    world.up = true;
    await listening(watch);
    expect(said).toEqual(['listen', 'refuse', 'listen']);
    expect(states).toEqual(['listening', 'waiting', 'listening']);
  });

  it('says that the port is not held, and goes on when somebody else has taken it', async () => {
    const world = { up: true, taken: true };
    const { watch, said, probes } = watched(world, false);
    await until('a few probes', () => probes() >= 3);
    expect([watch.state, said]).toEqual(['waiting, port not held', []]);
    world.taken = false;
    await listening(watch);
  });

  it('waits for the link too', async () => {
    const world = { up: true, link: false };
    const { watch, probes } = watched(world);
    world.link = true;
    await listening(watch);
    expect(probes()).toBe(1);
  });

  it('listens where nobody can tell whether the container does', async () => {
    const { watch, said } = watched({ up: false, unsupported: true });
    await listening(watch);
    expect(said).toEqual(['listen']);
  });

  it('asks nothing of the port once it is closed', async () => {
    const world = { up: false };
    const { watch, said, probes } = watched(world);
    await until('a probe', () => probes() > 0);
    watch.close();
    world.up = true;
    watch.dialFailed(ERRNO.ECONNREFUSED);
    const last = probes();
    const other = watched({ up: true });
    await listening(other.watch);
    expect([said, probes()]).toEqual([[], last]);
  });
});

it('a container is gone when it refuses or cannot be reached, not when something has run out', () => {
  expect([ERRNO.ECONNREFUSED, ERRNO.EHOSTUNREACH, ERRNO.ETIMEDOUT].every(isUnreachable)).toBe(true);
  expect([0, ERRNO.ENOBUFS, ERRNO.EMFILE, ERRNO.ECONNABORTED, ERRNO.ECANCELED].some(isUnreachable)).toBe(
    false,
  );
});
