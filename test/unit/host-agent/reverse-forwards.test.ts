import { setImmediate as turn } from 'node:timers/promises';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { ReverseForwards, type ReverseLink } from '../../../host-agent/control/reverse-forwards.ts';
import { LIMITS, VmLimits } from '../../../host-agent/vm-limits.ts';
import type { ControlMessage } from '../../../shared/control-codec.ts';
import { BridgeError, ERRNO } from '../../../shared/errors.ts';
import { Limit } from '../../../shared/limit.ts';
import type { LinkedSocketHooks, OpenedChannel } from '../../../shared/link/linked-socket.ts';
import { silentLogger } from '../../../shared/logger.ts';
import { MAX_REVERSE, type ReverseMessage } from '../../../shared/reverse-messages.ts';
import { formatReverseSpec, parseReverseSpec } from '../../../shared/reverse-spec.ts';
import { until } from '../../helpers/processes.ts';

const log = silentLogger();
const spec = (port: number, service = 1) =>
  parseReverseSpec(`reverse:tcp:127.0.0.1:${service}:tcp:127.0.0.1:${port}`);
const limits = new VmLimits({} as never, {
  vm: 'a',
  alone: true,
  defaults: LIMITS,
  connections: new Limit('connections', 100, log),
  log,
});

let reverse: ReverseForwards;
let said: Array<ControlMessage & { type: 'reverse' }>;
let link: ReverseLink;

/** As the link of a VM has it that is up. */
const whenUp = async () => ({ link });
const start = (more: object = {}) => {
  reverse = new ReverseForwards({ vm: 'a', limits, admit: (service) => service, whenUp, log, ...more });
};
const sets = () => said.map(({ forwards }) => forwards.map(({ id, spec }) => `${id} ${spec}`));
const answer = (message: ReverseMessage) => reverse.take(message);
const opened = (id: number, port: number, service = 1) =>
  answer({ type: 'reversed', id, spec: formatReverseSpec(spec(port, service)) });
const made = async (port: number, resolved = port) => {
  const opening = reverse.open(spec(port));
  const asked = () => said.at(-1)?.forwards.some((each) => each.spec === formatReverseSpec(spec(port)));
  await until('the request', () => asked() === true);
  opened(said.at(-1)!.forwards.at(-1)!.id, resolved);
  return opening;
};

/** A channel of the VM; what becomes of it. */
const channel = (id: number | undefined, port = 1) => {
  const fate: { errno?: number; hooks?: LinkedSocketHooks } = {};
  const opened: OpenedChannel = {
    destination: { protocol: 'tcp', ip: '127.0.0.1', port },
    details: id === undefined ? {} : { reverse: id },
    refuse: ({ errno }) => {
      fate.errno = errno;
    },
    link: (hooks) => {
      fate.hooks = hooks;
      const end = (error: BridgeError): void => {
        fate.errno = error.errno;
        hooks.closed(error);
      };
      return { stop: end, dialled: (socket) => socket.destroy(), dialFailed: end };
    },
  };
  reverse.serve(opened);
  return fate;
};

beforeEach(async () => {
  said = [];
  link = { has: () => true, send: (message) => void said.push(message as (typeof said)[0]) };
  start();
  reverse.linkUp(link);
  await turn();
  said = [];
});

describe('ReverseForwards', () => {
  it('asks the shim for all that is wanted, and knows the port that it took', async () => {
    const { resolved, forward } = await made(0, 4000);
    expect(formatReverseSpec(resolved)).toBe('reverse:tcp:127.0.0.1:1:tcp:127.0.0.1:4000');
    expect(forward.state).toBeUndefined();
    await made(5000);
    expect(sets()).toEqual([
      ['1 reverse:tcp:127.0.0.1:1:tcp:127.0.0.1:0'],
      ['1 reverse:tcp:127.0.0.1:1:tcp:127.0.0.1:4000', '2 reverse:tcp:127.0.0.1:1:tcp:127.0.0.1:5000'],
    ]);
    await forward.close({ now: false });
    await turn();
    expect(sets().at(-1)).toEqual(['2 reverse:tcp:127.0.0.1:1:tcp:127.0.0.1:5000']);
  });

  it('passes on why the shim refuses, and wants it no longer', async () => {
    const opening = reverse.open(spec(80));
    await until('the request', () => said.length > 0);
    answer({ type: 'reverse-refused', id: 1, code: 'PORT_IN_USE', text: 'sshd has it' });
    await expect(opening).rejects.toMatchObject({ code: 'PORT_IN_USE', message: 'in the VM: sshd has it' });
    await turn();
    expect(sets().at(-1)).toEqual([]);
  });

  it('names the forward that has the port in the VM', async () => {
    await made(4000);
    const opening = reverse.open(spec(4000));
    const refused = expect(opening).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: 'in the VM: the shim has it; it is open for reverse:tcp:127.0.0.1:1:tcp:127.0.0.1:4000',
    });
    await until('the request', () => sets().at(-1)?.length === 2);
    answer({ type: 'reverse-refused', id: 2, code: 'PORT_IN_USE', text: 'the shim has it' });
    await refused;
  });

  it('has all that waited for the link in the first set, so that a shim closes none that are open', async () => {
    let up = (): void => {};
    const linked = new Promise<void>((resolve) => {
      up = resolve;
    });
    start({ whenUp: () => linked.then(() => ({ link })) });
    const waiting = [80, 81].map((port) => reverse.open(spec(port)));
    reverse.linkUp(link);
    up();
    await until('the request', () => said.length > 0);
    expect(sets().map((set) => set.length)).toEqual([2]);
    opened(1, 80);
    opened(2, 81);
    await Promise.all(waiting);
  });

  it('waits for the link, and says when there is none, or one that cannot do it', async () => {
    let up = (): void => {};
    start({
      whenUp: () =>
        new Promise((resolve) => {
          up = () => resolve({ link });
        }),
    });
    const waiting = reverse.open(spec(80));
    expect(said).toEqual([]);
    reverse.linkUp(link);
    up();
    await until('the request', () => said.some(({ forwards }) => forwards.length === 1));
    opened(1, 80);
    await waiting;
    start({ whenUp: () => Promise.reject(new BridgeError('NO_LINK', 'no link')) });
    await expect(reverse.open(spec(80))).rejects.toMatchObject({ code: 'NO_LINK' });
    start({ whenUp: async () => ({ link: { ...link, has: () => false } }) });
    await expect(reverse.open(spec(80))).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  });

  it('takes no more than fit into a set, however many wait for the link at once', async () => {
    const asked = Array.from({ length: MAX_REVERSE + 5 }, (_, index) =>
      reverse.open(spec(1_000 + index)).then(
        () => 'open',
        ({ code }: BridgeError) => code,
      ),
    );
    await until('the last request', () => said.at(-1)?.forwards.length === MAX_REVERSE);
    for (const { id, spec } of said.at(-1)!.forwards) answer({ type: 'reversed', id, spec });
    const outcomes = await Promise.all(asked);
    expect(outcomes.filter((outcome) => outcome === 'open')).toHaveLength(MAX_REVERSE);
    expect(outcomes.filter((outcome) => outcome === 'LIMIT_REACHED')).toHaveLength(5);
  });

  it('a request that waits for the shim ends when the host agent stops', async () => {
    const opening = reverse.open(spec(80));
    await until('the request', () => said.length > 0);
    reverse.close();
    await expect(opening).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('when the host agent stops, connections end; the shim is told nothing, and gets no new ones', async () => {
    const { forward } = await made(80);
    const running = channel(1);
    said = [];
    const warn = vi.spyOn(log, 'warn');
    reverse.close();
    reverse.linkUp(link);
    await forward.close({ now: true });
    expect([running.errno, channel(1).errno]).toEqual([ERRNO.ECANCELED, ERRNO.ECANCELED]);
    await turn();
    expect(said).toEqual([]);
    expect(warn).not.toHaveBeenCalled();
  });

  it('a shim that never answers, and a link that is lost meanwhile, end the request', async () => {
    start({ answerMs: 1 });
    reverse.linkUp(link);
    await expect(reverse.open(spec(80))).rejects.toMatchObject({ code: 'TIMEOUT' });
    start();
    reverse.linkUp(link);
    await turn();
    said = [];
    const opening = reverse.open(spec(80));
    await until('the request', () => said.length > 0);
    reverse.linkDown();
    await expect(opening).rejects.toMatchObject({ code: 'LINK_LOST' });
  });

  it('a shim that cannot do it and takes over ends requests at once, and lists say why; another mends it', async () => {
    const { forward } = await made(80);
    const opening = reverse.open(spec(81));
    await until('the request', () => sets().at(-1)?.length === 2);
    reverse.linkUp({ ...link, has: () => false });
    await expect(opening).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    expect(forward.state).toMatch(/^not open: the shim of VM "a" cannot publish/);
    reverse.linkDown();
    expect(forward.state).toBe('no link');
    reverse.linkUp(link);
    expect(forward.state).toBeUndefined();
    await turn();
    expect(sets().at(-1)).toEqual(['1 reverse:tcp:127.0.0.1:1:tcp:127.0.0.1:80']);
  });

  it('says all again on a new link, and tells what is not open there', async () => {
    start({ retryMs: 1 });
    reverse.linkUp(link);
    const { forward } = await made(80);
    reverse.linkDown();
    expect(forward.state).toBe('no link');
    said = [];
    reverse.linkUp(link);
    await turn();
    expect(sets()).toEqual([['1 reverse:tcp:127.0.0.1:1:tcp:127.0.0.1:80']]);
    answer({ type: 'reverse-refused', id: 1, code: 'PORT_IN_USE', text: 'taken' });
    expect(forward.state).toBe('not open: in the VM: taken');
    await until('another try', () => said.length === 2);
    opened(1, 80);
    expect(forward.state).toBeUndefined();
  });

  it('dials nothing but what is published, whatever the VM asks for', async () => {
    await made(80);
    for (const fate of [channel(undefined), channel(2), channel(1, 22), channel(0)])
      expect(fate.errno).toBe(1);
    expect(channel(1).hooks).toBeDefined();
  });

  it('dials nothing that the policy allows no longer', async () => {
    const admit = () => {
      throw new BridgeError('POLICY_DENIED', 'no');
    };
    start({ admit });
    reverse.linkUp(link);
    const { forward } = await made(0, 80);
    const info = vi.spyOn(log, 'info');
    const fate = channel(1);
    await until('the refusal', () => fate.errno !== undefined);
    const logged = { forward: 'reverse:tcp:127.0.0.1:1:tcp:127.0.0.1:80', code: 'POLICY_DENIED' };
    expect(info).toHaveBeenCalledWith(expect.objectContaining(logged), expect.anything());
    expect(forward.stats()).toMatchObject({ connections: 1, active: 0, dial_failures: 1 });
  });

  it('a shim that opens another service than was asked for breaks the protocol', async () => {
    const opening = reverse.open(spec(80)).catch(() => {});
    await until('the request', () => said.length > 0);
    expect(() => opened(1, 80, 2)).toThrow('for reverse:tcp:127.0.0.1:1:');
    expect(() => answer({ type: 'reverse', forwards: [] })).toThrow('wants reverse forwards');
    reverse.linkDown();
    await opening;
  });
});
