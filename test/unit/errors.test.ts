import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  BridgeError,
  ERRNO,
  ERROR_CODES,
  errnoName,
  errnoNumber,
  errorOfText,
  messageOf,
  nodeErrno,
  textWithCode,
} from '../../shared/errors.ts';

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

describe('an error as text', () => {
  it('comes back with its code', () => {
    for (const code of ERROR_CODES) {
      const error = new BridgeError(code, 'two\nlines [WITH] brackets [IO]');
      expect(textWithCode(error)).toBe(`${error.message} [${code}]`);
      expect(errorOfText(textWithCode(error), 'REFUSED')).toMatchObject({ code, message: error.message });
    }
  });

  it('without a code of ours gets the one that was agreed on', () => {
    expect(textWithCode(new Error('x'))).toBe('x');
    for (const text of ['x', 'x [WHAT]', 'x [IO] y', '[IO]'])
      expect(errorOfText(text, 'REFUSED')).toMatchObject({ code: 'REFUSED', message: text });
  });
});

describe('docs/troubleshooting.md', () => {
  const text = readFileSync(new URL('../../docs/troubleshooting.md', import.meta.url), 'utf8');
  const rows = [...text.matchAll(/^\| `([A-Z_]+)` *\|([^|]*)\|([^|]*)\|([^|]*)\|$/gm)];

  it.each(ERROR_CODES)('says what %s means and what to do, with its errno', (code) => {
    const [row, ...others] = rows.filter(([, name]) => name === code);
    expect(others).toEqual([]);
    const [errno, meaning, help] = row!.slice(2).map((cell) => cell.trim());
    expect(errno!.split(',')[0]).toBe(errnoName(new BridgeError(code, '').errno));
    expect(Math.min(meaning!.length, help!.length)).toBeGreaterThan(7);
  });

  it('knows no others', () => {
    expect(rows.map(([, name]) => name).filter((name) => !(ERROR_CODES as string[]).includes(name!))).toEqual(
      [],
    );
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
