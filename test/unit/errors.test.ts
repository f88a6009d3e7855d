import { describe, expect, it } from 'vitest';
import { BridgeError, ERRNO, errnoName, errnoNumber, messageOf, nodeErrno } from '../../shared/errors.ts';

describe('BridgeError', () => {
  it('carries a Linux errno that fits its code, unless it is given another', () => {
    expect(new BridgeError('PORT_IN_USE', 'x').errno).toBe(98);
    expect(new BridgeError('DIAL_FAILED', 'x', { errno: 'ENETUNREACH' }).errno).toBe(101);
    expect(new BridgeError('DIAL_FAILED', 'x', { errno: 4711 }).errno).toBe(4711);
  });

  it('keeps its cause, and has none when there is none', () => {
    const cause = new Error('why');
    expect(new BridgeError('IO', 'x', { cause }).cause).toBe(cause);
    expect('cause' in new BridgeError('IO', 'x')).toBe(false);
  });
});

describe('errno of anything', () => {
  it('is a Linux number whatever was thrown', () => {
    expect(errnoNumber(Object.assign(new Error(), { code: 'ECONNREFUSED' }))).toBe(111);
    expect(errnoNumber(new BridgeError('RESET', 'x'))).toBe(104);
    for (const odd of [null, undefined, 'text', new Error('x'), { code: 5 }, { code: 'EWHAT' }])
      expect(errnoNumber(odd)).toBe(ERRNO.EIO);
  });

  it('has a name where we know one', () => {
    expect(errnoName(111)).toBe('ECONNREFUSED');
    expect(errnoName(4711)).toBe('errno 4711');
    expect(nodeErrno({ code: 'EPIPE' })).toBe('EPIPE');
    expect(nodeErrno(null)).toBeUndefined();
    expect(messageOf('text')).toBe('text');
  });
});
