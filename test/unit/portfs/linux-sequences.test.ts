import { describe, expect, it } from 'vitest';
import { DIALECTS } from '../p9/arbitraries.ts';
import { turns } from '../p9/raw-session.ts';
import { RESOLVED, SPEC, servePorts, UNASKED } from './serving.ts';

const dots = (dialect: string) => (dialect === '9P2000.L' ? ['.', '..'] : []);

describe.each(DIALECTS)('what Linux sends in %s', (dialect) => {
  it('a port is published while ctl is held', async () => {
    const { door, mount: dial, server } = servePorts();
    const { mount } = await dial(dialect);
    await mount.mkdir('web');
    const ctl = await mount.open(['web', 'ctl']);
    expect(await mount.read(ctl)).toBe(UNASKED);
    expect(await mount.write(ctl, SPEC)).toBe(SPEC.length);
    expect(await mount.read(ctl)).toBe(`OK ${RESOLVED}\n`);
    expect([...door.bound]).toEqual([RESOLVED]);
    await mount.close(ctl);
    expect(door.events).toEqual([`bind ${RESOLVED}`, `release ${RESOLVED}`]);
    expect(await mount.ls()).toEqual([...dots(dialect), 'README']);
    expect(server.entries.used).toBe(0);
  });

  it('a request that fails takes the whole write and says why; the entry goes with its ctl', async () => {
    const { door, mount: dial } = servePorts();
    const { mount } = await dial(dialect);
    await mount.mkdir('web');
    const ctl = await mount.open(['web', 'ctl']);
    const spec = 'udp:0.0.0.0:80:udp:172.17.0.2:80';
    expect(await mount.write(ctl, spec)).toBe(spec.length);
    const answer = 'ERROR Bind for 0.0.0.0:80 failed: port is already allocated [PORT_IN_USE]\n';
    expect(await mount.read(ctl)).toBe(answer);
    expect(await mount.cat('web', 'ctl')).toBe(answer);
    expect(await mount.cat('web', 'status')).toMatch(
      /^state failed\nrequest udp:.*\nerror Bind for .*\nsince 20/,
    );
    await mount.close(ctl);
    await expect(mount.stat('web')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(door.events).toEqual([]);
  });

  it('others may stat and cat ctl; only the close of the file that wrote ends the forward', async () => {
    const { door, mount: dial } = servePorts();
    const holder = await dial(dialect);
    const other = await dial(dialect);
    await holder.mount.mkdir('web');
    const reader = await holder.mount.open(['web', 'ctl'], { mode: 'r' });
    const ctl = await holder.mount.open(['web', 'ctl']);
    await holder.mount.write(ctl, SPEC);
    for (const { mount } of [holder, other]) {
      expect(await mount.cat('web', 'ctl')).toBe(`OK ${RESOLVED}\n`);
      expect(await mount.stat('web', 'ctl')).toMatchObject({ size: `OK ${RESOLVED}\n`.length });
      expect(await mount.ls('web')).toEqual([...dots(dialect), 'ctl', 'status', 'stats']);
      const rw = await mount.open(['web', 'ctl']);
      await mount.close(rw);
    }
    await holder.mount.close(reader);
    other.near.destroy();
    await other.served;
    expect([...door.bound]).toEqual([RESOLVED]);
    await holder.mount.close(ctl);
    expect([...door.bound]).toEqual([]);
  });

  it('a second write is refused, by whomever, also after a failure', async () => {
    const { door, mount: dial } = servePorts();
    const { mount } = await dial(dialect);
    const denied = { code: 'PERMISSION_DENIED', errno: 13 };
    for (const spec of [SPEC, 'nonsense']) {
      await mount.mkdir('web');
      const ctl = await mount.open(['web', 'ctl']);
      const second = await mount.open(['web', 'ctl']);
      await mount.write(ctl, spec);
      const answer = await mount.read(ctl);
      await expect(mount.write(ctl, SPEC)).rejects.toMatchObject(denied);
      await expect(mount.write(second, SPEC)).rejects.toMatchObject(denied);
      expect(await mount.read(ctl)).toBe(answer);
      await mount.close(second);
      await mount.close(ctl);
    }
    expect(door.asked).toHaveLength(2);
  });

  it('a shell: truncating open, a newline after the spec, the answer through a second open', async () => {
    const { door, mount: dial } = servePorts();
    const { mount } = await dial(dialect);
    await mount.mkdir('web');
    const ctl = await mount.open(['web', 'ctl'], { mode: 'w', truncate: true });
    expect(await mount.write(ctl, `${SPEC}\n`)).toBe(SPEC.length + 1);
    expect(door.asked[0]?.spec).toBe(SPEC);
    expect(await mount.cat('web', 'ctl')).toBe(`OK ${RESOLVED}\n`);
    await mount.close(ctl);
    expect([...door.bound]).toEqual([]);
  });

  it('reads give parts of one answer, and nothing at or after the end', async () => {
    const { mount: dial } = servePorts();
    const { mount } = await dial(dialect);
    await mount.mkdir('web');
    const ctl = await mount.open(['web', 'ctl']);
    expect(await mount.read(ctl, 8)).toBe(UNASKED.slice(0, 8));
    await mount.write(ctl, SPEC);
    const answer = `OK ${RESOLVED}\n`;
    expect(await mount.read(ctl, 5, 3)).toBe(answer.slice(3, 8));
    expect(await mount.read(ctl, 100, answer.length)).toBe('');
    expect(await mount.read(ctl, 100, 1_000_000)).toBe('');
    expect(await mount.read(ctl, answer.length)).toBe(answer);
    await mount.close(ctl);
  });

  it('a file that began to read the old answer reads it to its end', async () => {
    const { mount: dial } = servePorts();
    const { mount } = await dial(dialect);
    await mount.mkdir('web');
    const reader = await mount.open(['web', 'ctl'], { mode: 'r' });
    const ctl = await mount.open(['web', 'ctl']);
    const half = await mount.read(reader, 10);
    await mount.write(ctl, SPEC);
    expect(half + (await mount.read(reader, 100, 10))).toBe(UNASKED);
    expect(await mount.read(reader)).toBe(`OK ${RESOLVED}\n`);
    await mount.close(reader);
    await mount.close(ctl);
  });

  it('rmdir of the entry unexposes, also from another connection; the holder reads so', async () => {
    const { door, mount: dial } = servePorts();
    const holder = await dial(dialect);
    const other = await dial(dialect);
    await holder.mount.mkdir('web');
    const ctl = await holder.mount.open(['web', 'ctl']);
    await holder.mount.write(ctl, SPEC);
    await other.mount.rmdir('web');
    expect(door.events).toEqual([`bind ${RESOLVED}`, `release ${RESOLVED}`]);
    expect(await holder.mount.read(ctl)).toBe('ERROR the entry was removed\n');
    await expect(holder.mount.stat('web')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await holder.mount.mkdir('web');
    await holder.mount.close(ctl);
    expect((await holder.mount.stat('web')).path).toBeGreaterThan(0n);
    expect(door.events).toHaveLength(2);
  });

  it('loss of the connection releases its claims and no others', async () => {
    const { door, mount: dial } = servePorts();
    const lost = await dial(dialect);
    const kept = await dial(dialect);
    for (const [{ mount }, name] of [
      [lost, 'a'],
      [lost, 'b'],
      [kept, 'c'],
    ] as const) {
      await mount.mkdir(name);
      await mount.write(await mount.open([name, 'ctl']), `tcp:${name}`);
    }
    expect([...door.bound]).toEqual(['tcp:a', 'tcp:b', 'tcp:c']);
    lost.near.destroy();
    await lost.served;
    expect([...door.bound]).toEqual(['tcp:c']);
    expect(await kept.mount.ls()).toEqual([...dots(dialect), 'README', 'c']);
  });

  it('a writer that is killed: Tflush, then clunks; what is granted too late is released', async () => {
    const { door, mount: dial, server } = servePorts();
    door.manual = true;
    const { mount } = await dial(dialect);
    await mount.mkdir('web');
    const ctl = await mount.open(['web', 'ctl']);
    const kill = new AbortController();
    const writing = mount.write(ctl, SPEC, 0, kill.signal);
    while (door.asked.length === 0) await turns();
    kill.abort();
    await expect(writing).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(door.events).toEqual([`abort ${SPEC}`]);
    await mount.close(ctl);
    expect(await mount.ls()).toEqual([...dots(dialect), 'README']);
    expect(server.entries.used).toBe(1);
    door.asked[0]?.grant();
    await turns();
    expect(door.events).toEqual([`abort ${SPEC}`, `bind ${RESOLVED}`, `release ${RESOLVED} now`]);
    expect(server.entries.used).toBe(0);
  });

  it('a slow claim is given up in time: the write returns, ctl says why, a late grant is released', async () => {
    const { door, mount: dial } = servePorts({ answerMs: 40 });
    door.manual = true;
    const { mount } = await dial(dialect);
    await mount.mkdir('web');
    const ctl = await mount.open(['web', 'ctl']);
    expect(await mount.write(ctl, SPEC)).toBe(SPEC.length);
    expect(await mount.read(ctl, 200)).toBe(
      `ERROR ${SPEC}: no answer within 0.04 s; the request was cancelled [TIMEOUT]\n`,
    );
    expect(door.events).toEqual([`abort ${SPEC}`]);
    door.asked[0]?.grant();
    await turns();
    expect([...door.bound]).toEqual([]);
    expect(await mount.read(ctl, 200)).toContain('no answer within');
    await mount.close(ctl);
    expect(await mount.ls()).toEqual([...dots(dialect), 'README']);
  });

  it('a reader waits for a request that is under way', async () => {
    const { door, mount: dial } = servePorts();
    door.manual = true;
    const { mount } = await dial(dialect);
    await mount.mkdir('web');
    const ctl = await mount.open(['web', 'ctl']);
    const writing = mount.write(ctl, SPEC);
    const reading = mount.cat('web', 'ctl');
    for (let turn = 0; turn < 20; turn++) await turns();
    door.asked[0]?.grant();
    expect(await reading).toBe(`OK ${RESOLVED}\n`);
    expect(await writing).toBe(SPEC.length);
    await mount.close(ctl);
  });

  it('a listing of several buffers is whole', async () => {
    const { mount: dial } = servePorts();
    const { mount } = await dial(dialect);
    const names = Array.from({ length: 150 }, (_, number) => `tcp:127.0.0.1:${number}:tcp:172.17.0.2:80`);
    for (const name of names) await mount.mkdir(name);
    expect(await mount.ls()).toEqual([...dots(dialect), 'README', ...names]);
  });

  it('README, status and stats', async () => {
    const { mount: dial } = servePorts();
    const { mount } = await dial(dialect);
    await mount.mkdir('web');
    expect(await mount.cat('README')).toContain('mkdir');
    expect(await mount.cat('web', 'status')).toMatch(/^state waiting\nsince \d{4}-/);
    expect(await mount.cat('web', 'stats')).toBe('');
    const ctl = await mount.open(['web', 'ctl']);
    await mount.write(ctl, SPEC);
    const status = `state active\nrequest ${SPEC}\nresolved ${RESOLVED}\nforward listening\nsince `;
    expect(await mount.cat('web', 'status')).toContain(status);
    expect(await mount.cat('web', 'stats')).toBe('connections 3\nbytes-in 12345\n');
    for (const path of [['README'], ['web', 'status'], ['web', 'stats']]) {
      await expect(mount.open(path, { mode: 'w' })).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
    }
    await mount.close(ctl);
  });
});
