import { describe, expect, it } from 'vitest';
import { BridgeError, ERRNO } from '../../../shared/errors.ts';
import { badDirectoryOffset, errorFromWire, p9Error, wordFor } from '../../../shared/p9/error-text.ts';

describe('the words that Linux net/9p/error.c turns into the same errno', () => {
  it.each([
    ['NOT_FOUND', 'ENOENT', 'file not found'],
    ['PERMISSION_DENIED', 'EACCES', 'permission denied'],
    ['ALREADY_EXISTS', 'EEXIST', 'file already exists'],
    ['BAD_REQUEST', 'EINVAL', 'Invalid argument'],
    ['BAD_REQUEST', 'ENAMETOOLONG', 'File name too long'],
    ['LIMIT_REACHED', 'EMFILE', 'Too many open files'],
    ['LIMIT_REACHED', 'ENOSPC', 'file system is full'],
    ['UNSUPPORTED', 'EOPNOTSUPP', 'Operation not supported'],
    ['REFUSED', 'EPERM', 'Operation not permitted'],
    ['IO', 'EIO', 'i/o error'],
  ] as const)('%s with %s', (code, errno, word) => {
    expect(wordFor(new BridgeError(code, 'a long story about it', { errno }))).toBe(word);
  });

  it('an errno that has no word, and what is no BridgeError, is an i/o error', () => {
    expect(wordFor(new BridgeError('IO', 'x', { errno: 4711 }))).toBe('i/o error');
    expect(wordFor(new TypeError('x is not a function'))).toBe('i/o error');
  });
});

it('an error that is a word itself keeps it', () => {
  expect(wordFor(p9Error('fid not found'))).toBe('fid not found');
  expect(wordFor(p9Error('fid already in use'))).toBe('fid already in use');
  expect(wordFor(badDirectoryOffset())).toBe('bad offset in directory read');
});

it('a word with the errno of another is not believed', () => {
  expect(wordFor(new BridgeError('IO', 'file not found'))).toBe('i/o error');
});

describe('what a client makes of it', () => {
  it.each([
    ['file not found', 0, 'NOT_FOUND', ERRNO.ENOENT],
    ['whatever', ERRNO.EEXIST, 'ALREADY_EXISTS', ERRNO.EEXIST],
    [undefined, ERRNO.EACCES, 'PERMISSION_DENIED', ERRNO.EACCES],
    [undefined, 4711, 'IO', 4711],
    ['never heard of', 0, 'IO', ERRNO.EIO],
  ] as const)('%s, %i', (text, errno, code, number) => {
    const error = errorFromWire('Twalk', text, errno);
    expect([error.code, error.errno]).toEqual([code, number]);
    expect(error.message).toContain('Twalk');
  });
});
