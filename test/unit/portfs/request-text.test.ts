import fc from 'fast-check';
import { expect, it } from 'vitest';
import { answerLine, parseRequest } from '../../../shared/portfs/request-text.ts';

const SPEC = 'tcp:[::1]:0:tcp:[fd00::2]:80';

it.each([SPEC, `${SPEC}\n`, ` \t${SPEC}\r\n`, `${SPEC}\0`, `${SPEC}\n\0\0`, `\0 ${SPEC} \0 \n`])(
  '%j is the spec',
  (text) => {
    expect(parseRequest(Buffer.from(text))).toEqual({ spec: SPEC });
  },
);

it('blanks and NULs within stay', () => {
  expect(parseRequest(Buffer.from('\0a b\0c\n'))).toEqual({ spec: 'a b\0c' });
});

it.each([
  ['nothing', Buffer.from(''), /empty/],
  ['blanks', Buffer.from(' \n\0'), /empty/],
  ['bad UTF-8', Buffer.from([0x74, 0xff]), /UTF-8/],
  ['8193 bytes', Buffer.alloc(8193, 'x'), /longer than 8192/],
])('%s is no request', (_what, data, why) => {
  expect(parseRequest(data)).toEqual({ wrong: expect.stringMatching(why) });
});

it('8192 bytes are one', () => {
  expect(parseRequest(Buffer.alloc(8192, 'x'))).toEqual({ spec: 'x'.repeat(8192) });
});

it('an answer is one line whatever it says', () => {
  expect(answerLine('ERROR', 'first\r\n  second\nthird\n')).toBe('ERROR first second third\n');
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const line = answerLine('OK', text);
      expect(line.indexOf('\n')).toBe(line.length - 1);
      expect(line.startsWith('OK ')).toBe(true);
    }),
  );
});
