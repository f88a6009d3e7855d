import { describe, expect, it } from 'vitest';
import { BridgeError } from '../../../shared/errors.ts';
import { claimPort } from '../../../shared/portfs/claim-port.ts';
import { DIALECTS } from '../p9/arbitraries.ts';
import { turns } from '../p9/raw-session.ts';
import { RESOLVED, SPEC, servePorts } from './serving.ts';

describe.each(DIALECTS)('over %s', (dialect) => {
  it('claims, holds, and releases', async () => {
    const { door, server, dial } = servePorts();
    const { near, served } = dial();
    const claim = await claimPort(near, 'web', `${SPEC}\n`, { dialect });
    expect(claim.resolved).toBe(RESOLVED);
    expect([...door.bound]).toEqual([RESOLVED]);
    await claim.release();
    expect([...door.bound]).toEqual([]);
    expect(server.entries.used).toBe(0);
    expect(await claim.closed).toBeUndefined();
    await claim.release();
    await served;
    expect(near.destroyed).toBe(true);
  });

  it('a refusal is thrown in the words of the server, and nothing is left', async () => {
    const { server, dial } = servePorts();
    const { near, served } = dial();
    await expect(claimPort(near, 'web', 'udp:x', { dialect })).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: 'Bind for 0.0.0.0:80 failed: port is already allocated',
    });
    await served;
    expect(server.entries.used).toBe(0);
  });

  it('what somebody else ends is over, with why', async () => {
    const { door, server, dial } = servePorts();
    const { near, served } = dial();
    const claim = await claimPort(near, 'web', SPEC, { dialect });
    door.end.get(RESOLVED)!(new BridgeError('POLICY_DENIED', 'policy of VM "a": not this one'));
    expect(await claim.closed).toMatchObject({
      code: 'POLICY_DENIED',
      message: 'policy of VM "a": not this one',
    });
    await served;
    expect(near.destroyed).toBe(true);
    expect(server.entries.used).toBe(0);
    await claim.release();
  });

  it('a name that is in use', async () => {
    const { door, dial } = servePorts();
    await claimPort(dial().near, 'web', SPEC, { dialect });
    await expect(claimPort(dial().near, 'web', 'tcp:b', { dialect })).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
    });
    expect([...door.bound]).toEqual([RESOLVED]);
  });

  it('of two that want one name at the same moment one gets it, and the other hears that it is in use', async () => {
    const { door, server, dial } = servePorts();
    const both = ['tcp:a', 'tcp:b'].map((spec) => claimPort(dial().near, 'web', spec, { dialect }));
    const [one, other] = (await Promise.allSettled(both)).sort((a) => (a.status === 'fulfilled' ? -1 : 1));
    expect([one!.status, other]).toMatchObject([
      'fulfilled',
      { status: 'rejected', reason: { code: 'ALREADY_EXISTS', message: 'entry web is in use' } },
    ]);
    expect([door.asked.length, door.bound.size, server.entries.used]).toEqual([1, 1, 1]);
  });
});

it('given up while the server thinks: the server drops it, also when it is granted later', async () => {
  const { door, server, dial } = servePorts();
  door.manual = true;
  const { near, served } = dial();
  const controller = new AbortController();
  const claiming = claimPort(near, 'web', SPEC, { signal: controller.signal });
  while (door.asked.length === 0) await turns();
  controller.abort();
  await expect(claiming).rejects.toMatchObject({ code: 'CANCELLED' });
  await served;
  door.asked[0]?.grant();
  await turns();
  expect([...door.bound]).toEqual([]);
  expect(server.entries.used).toBe(0);
});

it('given up before it began', async () => {
  const { door, dial } = servePorts();
  const { near, served } = dial();
  await expect(claimPort(near, 'web', SPEC, { signal: AbortSignal.abort() })).rejects.toMatchObject({
    code: 'CANCELLED',
  });
  await served;
  expect(door.asked).toEqual([]);
});

it('once made it does not end with the signal', async () => {
  const { door, dial } = servePorts();
  const controller = new AbortController();
  const claim = await claimPort(dial().near, 'web', SPEC, { signal: controller.signal });
  controller.abort();
  for (let turn = 0; turn < 5; turn++) await turns();
  expect([...door.bound]).toEqual([RESOLVED]);
  await claim.release();
});

it('closed tells that the server went, and release is then done', async () => {
  const { server, dial } = servePorts();
  const claim = await claimPort(dial().near, 'web', SPEC);
  await server.close();
  expect(await claim.closed).toMatchObject({ code: 'LINK_LOST' });
  await claim.release();
});

it('a request that does not fit in one message is refused before it is sent in part', async () => {
  const { door, dial } = servePorts();
  const spec = `tcp:${'x'.repeat(200_000)}`;
  await expect(claimPort(dial().near, 'web', spec)).rejects.toMatchObject({ code: 'REFUSED' });
  expect([...door.bound]).toEqual([]);
});
