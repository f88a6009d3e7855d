import fc from 'fast-check';
import { pack } from 'msgpackr';
import { describe, expect, it } from 'vitest';
import {
  CLAIMS_PER_MESSAGE,
  type ClaimMessage,
  MAX_REASON,
  MAX_SPEC_BYTES,
  refusal,
} from '../../shared/claim-messages.ts';
import { decodeControl, encodeControl } from '../../shared/control-codec.ts';
import { BridgeError } from '../../shared/errors.ts';
import { MAX_CONTROL_BYTES } from '../../shared/mux/frame.ts';

const id = fc.maxSafeNat();
const spec = fc.string({ unit: 'binary', maxLength: MAX_SPEC_BYTES / 4 });
const text = fc.string({ unit: 'binary', maxLength: MAX_REASON / 2 });
const wanted = fc.record({ id, spec }, { noNullPrototype: true });
const message: fc.Arbitrary<ClaimMessage> = fc.oneof(
  fc.record({
    type: fc.constant('claims' as const),
    claims: fc.array(wanted, { maxLength: 8 }),
    more: fc.boolean(),
  }),
  fc.record({ type: fc.constant('claim' as const), id, spec }),
  fc.record({ type: fc.constant('unclaim' as const), id, now: fc.boolean() }),
  fc.record({ type: fc.constant('claimed' as const), id, spec, note: text }),
  fc.record({
    type: fc.constant('refused' as const),
    id,
    code: fc.constantFrom('PORT_IN_USE' as const, 'IO' as const),
    text,
  }),
  fc.record({ type: fc.constant('unclaimed' as const), id }),
);

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
const decoded = (value: unknown): unknown => decodeControl(Buffer.from(pack(value)));

describe('claim messages', () => {
  it('come back as they went', () => {
    fc.assert(
      fc.property(message, (sent) => {
        expect(plain(decodeControl(encodeControl(sent)))).toEqual(plain(sent));
      }),
    );
  });

  it('are refused when a field is missing or something else, and nothing unknown gets through', () => {
    const change = fc.tuple(fc.nat(), fc.option(fc.anything({ withTypedArray: true }), { nil: undefined }));
    fc.assert(
      fc.property(message, change, (sent, [which, value]) => {
        const fields = Object.keys(sent).filter((name) => name !== 'type');
        const broken = { ...sent, [fields[which % fields.length]!]: value, stranger: 1 };
        let got: unknown;
        try {
          got = decoded(broken);
        } catch (error) {
          expect((error as BridgeError).code).toBe('PROTOCOL');
          return;
        }
        // Taken: then what was put in is of the right kind, and only what is known came through.
        expect(Object.keys(got as object).sort()).toEqual(Object.keys(sent).sort());
      }),
      { numRuns: 2_000 },
    );
  });

  it.each<[string, object]>([
    ['a negative id', { type: 'claim', id: -1, spec: 'x' }],
    ['a fractional id', { type: 'claim', id: 0.5, spec: 'x' }],
    ['an id that is text', { type: 'unclaim', id: '1', now: false }],
    ['a long spec', { type: 'claim', id: 1, spec: 'é'.repeat(MAX_SPEC_BYTES / 2 + 1) }],
    ['a long text', { type: 'refused', id: 1, code: 'IO', text: 'x'.repeat(MAX_REASON + 1) }],
    ['a set without `more`', { type: 'claims', claims: [] }],
    ['a set of numbers', { type: 'claims', claims: [1], more: false }],
    ['a set that is a typed array', { type: 'claims', claims: new Uint16Array(4), more: false }],
    [
      'too many at once',
      { type: 'claims', claims: Array(CLAIMS_PER_MESSAGE + 1).fill({ id: 1, spec: 'x' }), more: false },
    ],
  ])('refuse %s', (_name, value) => {
    expect(() => decoded(value)).toThrow(expect.objectContaining({ code: 'PROTOCOL' }));
  });

  it('fit into a control message, however full', () => {
    const claims = Array.from({ length: CLAIMS_PER_MESSAGE }, () => ({
      id: Number.MAX_SAFE_INTEGER,
      spec: 'x'.repeat(MAX_SPEC_BYTES),
    }));
    expect(encodeControl({ type: 'claims', claims, more: true }).length).toBeLessThan(MAX_CONTROL_BYTES);
  });

  it('refuse with the code and the text of what went wrong, cut to size', () => {
    expect(refusal(1, new BridgeError('PORT_IN_USE', 'taken'))).toMatchObject({
      code: 'PORT_IN_USE',
      text: 'taken',
    });
    const long = refusal(1, new Error('x'.repeat(5_000)));
    expect(decodeControl(encodeControl(long))).toEqual(long);
    expect(long).toMatchObject({ code: 'IO' });
  });

  it('with a code of a later version still refuse', () => {
    expect(decoded({ type: 'refused', id: 1, code: 'TOSTRING', text: 'no' })).toMatchObject({
      code: 'REFUSED',
    });
    expect(decoded({ type: 'refused', id: 1, code: 'toString', text: 'no' })).toMatchObject({
      code: 'REFUSED',
    });
  });
});
