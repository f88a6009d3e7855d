import { describe, expect, it } from 'vitest';
import { ERRNO } from '../../../shared/errors.ts';
import { UNCHANGED_STAT } from '../../../shared/p9/attributes.ts';
import { encode } from '../../../shared/p9/codec.ts';
import type { Message } from '../../../shared/p9/messages.ts';
import type { Dialect } from '../../../shared/p9/types.ts';
import { NO_FID, NO_NUMBER, NO_TAG } from '../../../shared/p9/types.ts';
import { DIALECTS } from './arbitraries.ts';
import { MemoryFilesystem } from './memory-filesystem.ts';
import { RawSession, turns } from './raw-session.ts';

async function started(dialect: Dialect = '9P2000', limits = {}) {
  const filesystem = new MemoryFilesystem();
  const raw = new RawSession(filesystem, limits);
  await raw.start(dialect);
  raw.replies.length = 0;
  return { filesystem, raw };
}

function errorOf(dialect: Dialect, tag: number, ename: string, errno: keyof typeof ERRNO) {
  if (dialect === '9P2000.L') return { type: 'Rlerror', tag, ecode: ERRNO[errno] };
  return { type: 'Rerror', tag, ename, errno: dialect === '9P2000' ? 0 : ERRNO[errno] };
}

function qidsOf(reply: Message) {
  if (reply.type !== 'Rwalk') throw new Error(`${reply.type} is no Rwalk`);
  return reply.qids;
}

describe('version', () => {
  it('nothing but Tversion is answered before it', async () => {
    const raw = new RawSession(new MemoryFilesystem());
    const reply = await raw.ask('Tattach', { fid: 0, afid: NO_FID, uname: '', aname: '', nUname: NO_NUMBER });
    expect(reply).toEqual(errorOf('9P2000', 1, 'protocol botch', 'EPROTO'));
  });

  it('an unknown one is answered `unknown`, and another may be tried', async () => {
    const raw = new RawSession(new MemoryFilesystem());
    expect(await raw.ask('Tversion', { msize: 4096, version: '9P1999' }, NO_TAG)).toMatchObject({
      version: 'unknown',
    });
    expect(await raw.ask('Tclunk', { fid: 0 })).toMatchObject({ type: 'Rerror', ename: 'protocol botch' });
    await raw.start('9P2000.L', 4096);
    expect(raw.replies.at(-1)).toMatchObject({ type: 'Rattach' });
    expect(raw.session.msize).toBe(4096);
  });

  it('a msize below 512 is an error', async () => {
    const raw = new RawSession(new MemoryFilesystem());
    expect(await raw.ask('Tversion', { msize: 511, version: '9P2000' }, NO_TAG)).toMatchObject({
      type: 'Rerror',
    });
    expect(await raw.ask('Tclunk', { fid: 0 })).toMatchObject({ ename: 'protocol botch' });
  });

  it('a second one aborts requests without replies, clunks every fid, and then answers', async () => {
    const { filesystem, raw } = await started();
    await raw.open(1, 'slow');
    await raw.open(2, 'hello');
    raw.replies.length = 0;
    raw.send('Tread', 7, { fid: 1, offset: 0n, count: 10 });
    await turns();
    raw.send('Tversion', NO_TAG, { msize: 1000, version: '9P2000.u' });
    expect(raw.session.busy).toBe(true);
    await turns();
    expect(raw.tags()).toEqual([['Rversion', NO_TAG]]);
    expect(raw.session.busy).toBe(false);
    expect(filesystem.events).toEqual([
      'open slow r w',
      'open hello r w',
      'aborted read slow',
      'close slow',
      'close hello',
    ]);
    raw.dialect = '9P2000.u';
    expect(await raw.ask('Tstat', { fid: 0 })).toEqual(errorOf('9P2000.u', 1, 'fid not found', 'EBADF'));
  });
});

describe.each(DIALECTS)('walk in %s', (dialect) => {
  it('takes up to 16 names and makes newfid', async () => {
    const { raw } = await started(dialect);
    const names = Array.from({ length: 16 }, () => 'deep');
    const reply = await raw.ask('Twalk', { fid: 0, newfid: 1, names });
    expect(reply).toMatchObject({ type: 'Rwalk' });
    expect(qidsOf(reply)).toHaveLength(16);
    expect(await raw.ask('Tclunk', { fid: 1 })).toMatchObject({ type: 'Rclunk' });
  });

  it('that fails at the first name is an error, later it is a shorter reply; newfid is not made', async () => {
    const { raw } = await started(dialect);
    const missing = errorOf(dialect, 1, 'file not found', 'ENOENT');
    expect(await raw.ask('Twalk', { fid: 0, newfid: 1, names: ['nope', 'deep'] })).toEqual(missing);
    const partial = await raw.ask('Twalk', { fid: 0, newfid: 1, names: ['deep', 'deep', 'nope', 'deep'] });
    expect(qidsOf(partial)).toHaveLength(2);
    expect(await raw.ask('Tclunk', { fid: 1 })).toEqual(errorOf(dialect, 1, 'fid not found', 'EBADF'));
    const throughFile = await raw.ask('Twalk', { fid: 0, newfid: 1, names: ['hello', 'x'] });
    expect(qidsOf(throughFile)).toHaveLength(1);
  });

  it('with newfid == fid moves the fid, or leaves it when a name fails', async () => {
    const { raw } = await started(dialect);
    await raw.ask('Twalk', { fid: 0, newfid: 1, names: [] });
    await raw.ask('Twalk', { fid: 1, newfid: 1, names: ['deep', 'nope'] });
    expect(await raw.ask('Twalk', { fid: 1, newfid: 2, names: ['hello'] })).toMatchObject({ type: 'Rwalk' });
    await raw.ask('Twalk', { fid: 1, newfid: 1, names: ['hello'] });
    const notDirectory = errorOf(dialect, 1, 'not a directory', 'ENOTDIR');
    expect(await raw.ask('Twalk', { fid: 1, newfid: 3, names: ['x'] })).toEqual(notDirectory);
  });

  it('to a fid in use, from an unknown one, or from an open one in place, is refused', async () => {
    const { raw } = await started(dialect);
    await raw.open(1, 'hello');
    const inUse = errorOf(dialect, 1, 'fid already in use', 'EBADF');
    expect(await raw.ask('Twalk', { fid: 0, newfid: 1, names: [] })).toEqual(inUse);
    expect(await raw.ask('Twalk', { fid: 0, newfid: 1, names: ['deep', 'nope'] })).toEqual(inUse);
    expect(await raw.ask('Twalk', { fid: 9, newfid: 2, names: [] })).toEqual(
      errorOf(dialect, 1, 'fid not found', 'EBADF'),
    );
    const misuse = errorOf(dialect, 1, 'bad use of fid', 'EBADF');
    expect(await raw.ask('Twalk', { fid: 1, newfid: 1, names: [] })).toEqual(misuse);
    expect(await raw.ask('Twalk', { fid: 1, newfid: 1, names: ['deep'] })).toEqual(misuse);
  });

  it('leads from a directory that is open to what is in it, as Linux 5.11 does for ls -l', async () => {
    const { raw } = await started(dialect);
    await raw.ask('Twalk', { fid: 0, newfid: 1, names: ['deep'] });
    if (dialect === '9P2000.L') await raw.ask('Tlopen', { fid: 1, flags: 0 });
    else await raw.ask('Topen', { fid: 1, mode: 0 });
    const reply = await raw.ask('Twalk', { fid: 1, newfid: 2, names: ['deep'] });
    expect(qidsOf(reply)).toHaveLength(1);
    const read = { fid: 1, offset: 0n, count: 100 };
    expect(await raw.ask(dialect === '9P2000.L' ? 'Treaddir' : 'Tread', read)).toMatchObject({
      data: expect.anything(),
    });
  });

  it('without names makes a fid that is not open of one that is', async () => {
    const { filesystem, raw } = await started(dialect);
    await raw.open(1, 'hello');
    expect(await raw.ask('Twalk', { fid: 1, newfid: 2, names: [] })).toMatchObject({
      type: 'Rwalk',
      qids: [],
    });
    const read = { offset: 0n, count: 5 };
    expect(await raw.ask('Tread', { ...read, fid: 2 })).toEqual(
      errorOf(dialect, 1, 'bad use of fid', 'EBADF'),
    );
    if (dialect === '9P2000.L') await raw.ask('Tlopen', { fid: 2, flags: 0 });
    else await raw.ask('Topen', { fid: 2, mode: 0 });
    await raw.ask('Tclunk', { fid: 1 });
    expect(await raw.ask('Tread', { ...read, fid: 2 })).toMatchObject({ type: 'Rread' });
    expect(filesystem.events).toEqual(['open hello r w', 'open hello r', 'close hello']);
  });

  it('fids are limited', async () => {
    const { raw } = await started(dialect, { maxFids: 2 });
    expect(await raw.ask('Twalk', { fid: 0, newfid: 1, names: [] })).toMatchObject({ type: 'Rwalk' });
    const full = errorOf(dialect, 1, 'Too many open files', 'EMFILE');
    expect(await raw.ask('Twalk', { fid: 0, newfid: 2, names: [] })).toEqual(full);
    expect(await raw.ask('Twalk', { fid: 0, newfid: 1, names: [] })).toMatchObject(
      errorOf(dialect, 1, 'fid already in use', 'EBADF'),
    );
    await raw.ask('Tclunk', { fid: 1 });
    expect(await raw.ask('Twalk', { fid: 0, newfid: 2, names: [] })).toMatchObject({ type: 'Rwalk' });
  });
});

describe('authentication', () => {
  it('is not required: Tauth fails, and so does an attach with an afid', async () => {
    const { raw } = await started('9P2000.u');
    const refused = errorOf('9P2000.u', 1, 'authentication not required', 'EOPNOTSUPP');
    expect(await raw.ask('Tauth', { afid: 5, uname: 'x', aname: '', nUname: 0 })).toEqual(refused);
    expect(await raw.ask('Tattach', { fid: 5, afid: 4, uname: 'x', aname: '', nUname: 0 })).toEqual(refused);
  });
});

it('a name that is not UTF-8 ends the connection all the same where its tag is in use', async () => {
  const { raw } = await started();
  await raw.open(1, 'slow');
  raw.send('Tread', 9, { fid: 1, offset: 0n, count: 1 });
  const frame = encode({ type: 'Twalk', tag: 9, fid: 0, newfid: 2, names: ['x'] }, '9P2000').slice();
  frame[frame.length - 1] = 0xff;
  expect(() => raw.session.receive(frame)).toThrow('9P tag 9 is in use');
});

describe.each(DIALECTS)('what %s does not have', (dialect) => {
  it('is answered in its own way and the session goes on', async () => {
    const { raw } = await started(dialect);
    raw.session.receive(new Uint8Array([8, 0, 0, 0, 250, 5, 0, 0]));
    expect(raw.replies).toEqual([errorOf(dialect, 5, 'Operation not supported', 'EOPNOTSUPP')]);
    const foreign = dialect === '9P2000.L' ? ('Tstat' as const) : ('Tgetattr' as const);
    raw.session.receive(encode({ type: foreign, tag: 6, fid: 0, mask: 0n }, dialect));
    expect(raw.replies[1]).toEqual(errorOf(dialect, 6, 'Operation not supported', 'EOPNOTSUPP'));
    raw.session.receive(encode({ type: 'Rflush', tag: 8 }, dialect));
    await turns();
    expect(raw.replies[2]).toEqual(errorOf(dialect, 8, 'Operation not supported', 'EOPNOTSUPP'));
    expect(await raw.ask('Tclunk', { fid: 0 })).toMatchObject({ type: 'Rclunk' });
  });

  it('a name that is not UTF-8 is refused; it does not cost the connection', async () => {
    const { raw } = await started(dialect);
    const frame = encode({ type: 'Twalk', tag: 9, fid: 0, newfid: 1, names: ['x'] }, dialect).slice();
    frame[frame.length - 1] = 0xff;
    raw.session.receive(frame);
    expect(raw.replies).toEqual([errorOf(dialect, 9, 'Invalid argument', 'EINVAL')]);
  });
});

it('9P2000.L answers what it leaves out with EOPNOTSUPP', async () => {
  const { raw } = await started('9P2000.L');
  const none = { type: 'Rlerror', ecode: ERRNO.EOPNOTSUPP };
  const at = { fid: 0, name: 'x', gid: 0 };
  expect(await raw.ask('Tsymlink', { ...at, target: 'y' })).toMatchObject(none);
  expect(await raw.ask('Tmknod', { ...at, dfid: 0, mode: 0, major: 0, minor: 0 })).toMatchObject(none);
  expect(await raw.ask('Trename', { fid: 0, dfid: 0, name: 'y' })).toMatchObject(none);
  expect(await raw.ask('Treadlink', { fid: 0 })).toMatchObject(none);
  expect(await raw.ask('Txattrwalk', { fid: 0, newfid: 5, name: 'security.capability' })).toMatchObject(none);
  expect(await raw.ask('Txattrcreate', { fid: 0, name: 'a', size: 1n, flags: 0 })).toMatchObject(none);
  expect(await raw.ask('Tlink', { dfid: 0, fid: 0, name: 'y' })).toMatchObject(none);
  const renameat = { olddirfid: 0, oldname: 'a', newdirfid: 0, newname: 'b' };
  expect(await raw.ask('Trenameat', renameat)).toMatchObject(none);
  const lock = { fid: 0, lockType: 1, start: 0n, length: 0n, procId: 1, clientId: 'c' };
  expect(await raw.ask('Tlock', { ...lock, flags: 0 })).toMatchObject(none);
  expect(await raw.ask('Tgetlock', lock)).toMatchObject(none);
  expect(await raw.ask('Tlcreate', { ...at, flags: 0, mode: 0 })).toMatchObject({ ecode: ERRNO.EACCES });
  expect(await raw.ask('Tstatfs', { fid: 0 })).toMatchObject({ type: 'Rstatfs', fsType: 0x0102_1997 });
  expect(await raw.ask('Tfsync', { fid: 0, datasync: 0 })).toMatchObject({ type: 'Rfsync' });
});

describe('reading and writing', () => {
  it('needs a fid that was opened for it', async () => {
    const { raw } = await started('9P2000');
    const misuse = errorOf('9P2000', 1, 'bad use of fid', 'EBADF');
    await raw.ask('Twalk', { fid: 0, newfid: 1, names: ['hello'] });
    expect(await raw.ask('Tread', { fid: 1, offset: 0n, count: 5 })).toEqual(misuse);
    expect(await raw.ask('Twrite', { fid: 1, offset: 0n, data: new Uint8Array(1) })).toEqual(misuse);
    await raw.ask('Topen', { fid: 1, mode: 1 });
    expect(await raw.ask('Tread', { fid: 1, offset: 0n, count: 5 })).toEqual(misuse);
    expect(await raw.ask('Twrite', { fid: 1, offset: 0n, data: new Uint8Array(3) })).toMatchObject({
      count: 3,
    });
    expect(await raw.ask('Topen', { fid: 1, mode: 0 })).toEqual(misuse);
    await raw.ask('Twalk', { fid: 0, newfid: 2, names: ['hello'] });
    await raw.ask('Topen', { fid: 2, mode: 0 });
    expect(await raw.ask('Twrite', { fid: 2, offset: 0n, data: new Uint8Array(3) })).toEqual(misuse);
  });

  it('a read never makes a reply larger than msize', async () => {
    const { raw } = await started('9P2000');
    await raw.start('9P2000', 512);
    await raw.open(1, 'hello');
    const reply = await raw.ask('Tread', { fid: 1, offset: 6n, count: 0xffff_ffff });
    expect(Buffer.from((reply as { data: Uint8Array }).data).toString()).toBe('world');
    await raw.ask('Twalk', { fid: 0, newfid: 2, names: [] });
    await raw.ask('Topen', { fid: 2, mode: 0 });
    const page = await raw.ask('Tread', { fid: 2, offset: 0n, count: 0xffff_ffff });
    expect((page as { data: Uint8Array }).data.length).toBeLessThanOrEqual(512 - 11);
    expect((page as { data: Uint8Array }).data.length).toBeGreaterThan(0);
  });

  it('a reply that does not fit in msize is an error instead', async () => {
    const { filesystem, raw } = await started('9P2000');
    filesystem.add('x'.repeat(480));
    await raw.start('9P2000', 512);
    await raw.ask('Twalk', { fid: 0, newfid: 1, names: ['x'.repeat(480)] });
    expect(await raw.ask('Tstat', { fid: 1 })).toMatchObject({ type: 'Rerror', ename: 'Message too long' });
  });

  it('a Treaddir gives what fits in msize, however much was asked for', async () => {
    const { filesystem, raw } = await started('9P2000.L');
    for (let number = 0; number < 40; number++) filesystem.add(`file ${number}`);
    await raw.start('9P2000.L', 512);
    await raw.ask('Tlopen', { fid: 0, flags: 0 });
    const page = await raw.ask('Treaddir', { fid: 0, offset: 0n, count: 0xffff_ffff });
    expect(page).toMatchObject({ type: 'Rreaddir' });
    expect((page as { data: Uint8Array }).data.length).toBeGreaterThan(450);
  });

  it('open modes: exec and remove-on-close are refused, directories are only read', async () => {
    const { filesystem, raw } = await started('9P2000');
    await raw.ask('Twalk', { fid: 0, newfid: 1, names: ['hello'] });
    expect(await raw.ask('Topen', { fid: 1, mode: 3 })).toMatchObject({ ename: 'permission denied' });
    expect(await raw.ask('Topen', { fid: 1, mode: 0x40 })).toMatchObject({ ename: 'illegal mode' });
    expect(await raw.ask('Topen', { fid: 1, mode: 0x10 })).toMatchObject({ ename: 'permission denied' });
    expect(await raw.ask('Topen', { fid: 0, mode: 1 })).toMatchObject({ ename: 'Is a directory' });
    expect(filesystem.events).toEqual([]);
    expect(await raw.ask('Topen', { fid: 1, mode: 0x91 })).toMatchObject({
      type: 'Ropen',
      iounit: 8192 - 24,
    });
    expect(filesystem.events).toEqual(['open hello w t']);
  });

  it('a bug in the filesystem is an i/o error of that request', async () => {
    const { raw } = await started('9P2000.L');
    await raw.open(1, 'broken');
    expect(await raw.ask('Tread', { fid: 1, offset: 0n, count: 1 })).toMatchObject({ ecode: ERRNO.EIO });
    expect(await raw.ask('Tclunk', { fid: 1 })).toMatchObject({ ecode: ERRNO.EIO });
    expect(await raw.ask('Tclunk', { fid: 1 })).toMatchObject({ ecode: ERRNO.EBADF });
  });
});

describe('attributes', () => {
  it('of 9P2000 carry the directory bit and whole seconds', async () => {
    const { raw } = await started('9P2000.u');
    expect(await raw.ask('Tstat', { fid: 0 })).toMatchObject({
      stat: { name: '/', mode: 0x8000_01ed, mtime: 5, length: 0n, qid: { type: 0x80 } },
    });
    await raw.ask('Twalk', { fid: 0, newfid: 1, names: ['hello'] });
    expect(await raw.ask('Tstat', { fid: 1 })).toMatchObject({
      stat: { name: 'hello', mode: 0o644, mtime: 7, length: 11n, nUid: 0 },
    });
  });

  it('of 9P2000.L carry the file type', async () => {
    const { raw } = await started('9P2000.L');
    expect(await raw.ask('Tgetattr', { fid: 0, mask: 0x7ffn })).toMatchObject({ mode: 0o040755, nlink: 2n });
    await raw.ask('Twalk', { fid: 0, newfid: 1, names: ['hello'] });
    expect(await raw.ask('Tgetattr', { fid: 1, mask: 0x7ffn })).toMatchObject({ mode: 0o100644, size: 11n });
  });

  it('changes: only what a wstat or setattr names', async () => {
    const { filesystem, raw } = await started('9P2000.u');
    expect(await raw.ask('Twstat', { fid: 0, stat: UNCHANGED_STAT })).toMatchObject({ type: 'Rwstat' });
    await raw.ask('Twstat', { fid: 0, stat: { ...UNCHANGED_STAT, length: 0n, mtime: 77 } });
    await raw.ask('Twstat', { fid: 0, stat: { ...UNCHANGED_STAT, mode: 0o600, nUid: 5 } });
    const renamed = await raw.ask('Twstat', { fid: 0, stat: { ...UNCHANGED_STAT, name: 'x' } });
    expect(renamed).toEqual(errorOf('9P2000.u', 1, 'wstat prohibited', 'EPERM'));
    expect(filesystem.changes).toEqual([{}, { size: 0 }, { permissions: 0o600, owner: true }]);

    const linux = await started('9P2000.L');
    const times = { atimeSec: 0n, atimeNsec: 0n, mtimeSec: 0n, mtimeNsec: 0n };
    const set = { fid: 0, mode: 0o600, uid: 1, gid: 1, size: 9n, ...times };
    for (const valid of [0x8, 0x30, 0x1, 0x2]) await linux.raw.ask('Tsetattr', { ...set, valid });
    expect(linux.filesystem.changes).toEqual([{ size: 9 }, {}, { permissions: 0o600 }, { owner: true }]);
  });
});

describe('remove', () => {
  it('clunks the fid whether it works or not', async () => {
    const { filesystem, raw } = await started('9P2000');
    await raw.open(1, 'hello');
    expect(await raw.ask('Tremove', { fid: 1 })).toMatchObject({ ename: 'permission denied' });
    expect(filesystem.events).toEqual(['open hello r w', 'remove hello', 'close hello']);
    expect(await raw.ask('Tclunk', { fid: 1 })).toMatchObject({ ename: 'fid not found' });
    await raw.ask('Twalk', { fid: 0, newfid: 1, names: ['deep'] });
    expect(await raw.ask('Tremove', { fid: 1 })).toMatchObject({ type: 'Rremove' });
  });

  it('by name in 9P2000.L', async () => {
    const { filesystem, raw } = await started('9P2000.L');
    expect(await raw.ask('Tunlinkat', { dirfid: 0, name: 'deep', flags: 0x200 })).toMatchObject({
      type: 'Runlinkat',
    });
    expect(filesystem.events).toEqual(['remove deep']);
    expect(await raw.ask('Tunlinkat', { dirfid: 0, name: 'nope', flags: 0 })).toMatchObject({
      ecode: ERRNO.ENOENT,
    });
  });
});

describe('directories are made', () => {
  it('by Tcreate, whose fid is then open on the new one', async () => {
    const { raw } = await started('9P2000');
    await raw.ask('Twalk', { fid: 0, newfid: 1, names: [] });
    const create = { fid: 1, perm: 0x8000_01ff, mode: 0, extension: '' };
    expect(await raw.ask('Tcreate', { ...create, name: 'new' })).toMatchObject({
      type: 'Rcreate',
      qid: { type: 0x80 },
    });
    expect(await raw.ask('Tread', { fid: 1, offset: 0n, count: 100 })).toMatchObject({
      data: new Uint8Array(0),
    });
    expect(await raw.ask('Tcreate', { ...create, name: 'again' })).toMatchObject({ ename: 'bad use of fid' });
    await raw.ask('Twalk', { fid: 0, newfid: 2, names: [] });
    expect(await raw.ask('Tcreate', { ...create, fid: 2, name: 'new' })).toMatchObject({
      ename: 'file already exists',
    });
    expect(await raw.ask('Tcreate', { ...create, fid: 2, name: 'f', perm: 0o644 })).toMatchObject({
      ename: 'permission denied',
    });
    expect(await raw.ask('Tcreate', { ...create, fid: 2, name: 'f', mode: 1 })).toMatchObject({
      ename: 'illegal mode',
    });
  });

  it('by Tmkdir', async () => {
    const { raw } = await started('9P2000.L');
    expect(await raw.ask('Tmkdir', { dfid: 0, name: 'new', mode: 0, gid: 0 })).toMatchObject({
      type: 'Rmkdir',
    });
    expect(await raw.ask('Tmkdir', { dfid: 0, name: 'new', mode: 0, gid: 0 })).toMatchObject({
      ecode: ERRNO.EEXIST,
    });
  });
});

describe('flush', () => {
  it('aborts the request, and Rflush is all that is heard of it', async () => {
    const { filesystem, raw } = await started();
    await raw.open(1, 'slow');
    raw.replies.length = 0;
    raw.send('Tread', 7, { fid: 1, offset: 0n, count: 10 });
    await turns();
    raw.send('Tflush', 8, { oldtag: 7 });
    await turns();
    expect(filesystem.events).toContain('aborted read slow');
    expect(raw.tags()).toEqual([['Rflush', 8]]);
  });

  it('waits for a request that succeeds all the same, whose reply comes first', async () => {
    const { filesystem, raw } = await started();
    await raw.open(1, 'stubborn');
    raw.replies.length = 0;
    raw.send('Twrite', 7, { fid: 1, offset: 0n, data: new Uint8Array(3) });
    raw.send('Tflush', 8, { oldtag: 7 });
    raw.send('Tflush', 9, { oldtag: 7 });
    await turns();
    expect(raw.replies).toEqual([]);
    filesystem.blocked[0]?.finish();
    await turns();
    expect(raw.tags()).toEqual([
      ['Rwrite', 7],
      ['Rflush', 8],
      ['Rflush', 9],
    ]);
  });

  it('of a request that fails for another reason meanwhile gives no reply to it', async () => {
    const { filesystem, raw } = await started();
    await raw.open(1, 'stubborn');
    raw.replies.length = 0;
    raw.send('Tread', 7, { fid: 1, offset: 0n, count: 1 });
    raw.send('Tflush', 8, { oldtag: 7 });
    await turns();
    filesystem.blocked[0]?.fail(new Error('something else'));
    await turns();
    expect(raw.tags()).toEqual([['Rflush', 8]]);
  });

  it('of a tag that is not in use, or of itself, is answered at once', async () => {
    const { raw } = await started();
    expect(await raw.ask('Tflush', { oldtag: 99 }, 8)).toMatchObject({ type: 'Rflush' });
    expect(await raw.ask('Tflush', { oldtag: 8 }, 8)).toMatchObject({ type: 'Rflush' });
  });

  it('of a flush waits for that flush', async () => {
    const { filesystem, raw } = await started();
    await raw.open(1, 'stubborn');
    raw.replies.length = 0;
    raw.send('Tread', 7, { fid: 1, offset: 0n, count: 1 });
    raw.send('Tflush', 8, { oldtag: 7 });
    raw.send('Tflush', 9, { oldtag: 8 });
    await turns();
    expect(raw.replies).toEqual([]);
    filesystem.blocked[0]?.finish();
    await turns();
    expect(raw.tags().map(([, tag]) => tag)).toEqual([7, 8, 9]);
  });

  it('frees the tag for another request', async () => {
    const { raw } = await started();
    await raw.open(1, 'slow');
    raw.send('Tread', 7, { fid: 1, offset: 0n, count: 1 });
    await raw.ask('Tflush', { oldtag: 7 }, 8);
    expect(await raw.ask('Tstat', { fid: 0 }, 7)).toMatchObject({ type: 'Rstat', tag: 7 });
  });
});

describe('what ends the session', () => {
  it('a tag that is in use', async () => {
    const { raw } = await started();
    await raw.open(1, 'slow');
    raw.send('Tread', 7, { fid: 1, offset: 0n, count: 1 });
    expect(() => raw.send('Tstat', 7, { fid: 0 })).toThrow(expect.objectContaining({ code: 'PROTOCOL' }));
  });

  it('a malformed body', async () => {
    const { raw } = await started();
    expect(() => raw.session.receive(new Uint8Array([8, 0, 0, 0, 120, 1, 0, 0]))).toThrow(
      expect.objectContaining({ code: 'PROTOCOL' }),
    );
  });

  it('close: aborts, then clunks every fid, answers nothing more, and waits for both', async () => {
    const { filesystem, raw } = await started();
    await raw.open(1, 'stubborn');
    await raw.open(2, 'broken');
    raw.send('Tread', 7, { fid: 1, offset: 0n, count: 1 });
    await turns();
    raw.replies.length = 0;
    filesystem.events.length = 0;
    let closed = false;
    const closing = raw.session.close().then(() => {
      closed = true;
    });
    await turns();
    expect(filesystem.events).toEqual(['aborted read stubborn', 'close stubborn', 'close broken']);
    expect(closed).toBe(false);
    filesystem.blocked[0]?.finish();
    await closing;
    expect(raw.replies).toEqual([]);
    await raw.session.close();
    expect(filesystem.events).toHaveLength(3);
  });

  it('close during a Tversion waits for what that one had to end', async () => {
    const { filesystem, raw } = await started();
    await raw.open(1, 'stubborn');
    raw.send('Tread', 7, { fid: 1, offset: 0n, count: 1 });
    await turns();
    raw.replies.length = 0;
    raw.send('Tversion', NO_TAG, { msize: 8192, version: '9P2000' });
    let closed = false;
    const closing = raw.session.close().then(() => {
      closed = true;
    });
    await turns();
    expect(closed).toBe(false);
    filesystem.blocked[0]?.finish();
    await closing;
    await turns();
    expect(raw.replies).toEqual([]);
  });
});

it('is busy while as many requests are outstanding as may be', async () => {
  const said: string[] = [];
  const warnings = { warn: (_fields: object, text: string) => said.push(text) };
  const { filesystem, raw } = await started('9P2000', { maxOutstanding: 2, warnings });
  await raw.open(1, 'slow');
  raw.send('Tread', 7, { fid: 1, offset: 0n, count: 1 });
  expect([raw.session.busy, said]).toEqual([false, []]);
  raw.send('Tread', 8, { fid: 1, offset: 0n, count: 1 });
  expect(raw.session.busy).toBe(true);
  expect(said).toEqual(['limit reached: outstanding requests of a 9P connection (2)']);
  await turns();
  const before = raw.settled;
  filesystem.blocked[0]?.finish();
  await turns();
  expect(raw.session.busy).toBe(false);
  expect(raw.settled).toBe(before + 1);
});
