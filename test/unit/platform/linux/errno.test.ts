import { expect, it } from 'vitest';
import { ERRNO, nodeErrno } from '../../../../shared/errors.ts';
import { isExhaustion, systemError } from '../../../../shared/platform/linux/errno.ts';

it('names operation, address and errno, and carries a code', () => {
  const error = systemError('bind', '127.0.0.1:80', ERRNO.EACCES);
  expect(error.message).toBe('bind 127.0.0.1:80: EACCES');
  expect(error).toMatchObject({ code: 'PERMISSION_DENIED', errno: ERRNO.EACCES });
  expect(nodeErrno(error.cause)).toBe('EACCES');
  expect(systemError('connect', 'x', ERRNO.ECONNREFUSED).code).toBe('DIAL_REFUSED');
  expect(systemError('read', 'x', 4711)).toMatchObject({ code: 'IO', message: 'read x: errno 4711' });
});

it('knows what passes by itself', () => {
  for (const name of ['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'ENOSPC'] as const)
    expect(isExhaustion(ERRNO[name])).toBe(true);
  expect(isExhaustion(ERRNO.EAGAIN)).toBe(false);
});
