import fc from 'fast-check';
import { pack } from 'msgpackr';
import { describe, expect, it } from 'vitest';
import { MAX_SPEC_BYTES } from '../../shared/claim-messages.ts';
import { decodeControl, encodeControl } from '../../shared/control-codec.ts';
import type { BridgeError } from '../../shared/errors.ts';
import { MAX_CONTROL_BYTES } from '../../shared/mux/frame.ts';
import { MAX_REVERSE, type ReverseMessage } from '../../shared/reverse-messages.ts';

const id = fc.nat({ max: 2 ** 32 - 1 });
const spec = fc.string({ unit: 'binary', maxLength: MAX_SPEC_BYTES / 4 });
const wanted = fc.record({ id, spec }, { noNullPrototype: true });
const message: fc.Arbitrary<ReverseMessage> = fc.oneof(
  fc.record({ type: fc.constant('reverse' as const), forwards: fc.array(wanted, { maxLength: 8 }) }),
  fc.record({ type: fc.constant('reversed' as const), id, spec }),
  fc.record({
    type: fc.constant('reverse-refused' as const),
    id,
    code: fc.constantFrom('PORT_IN_USE' as const, 'IO' as const),
    text: fc.string(),
  }),
);
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
const decoded = (value: unknown): unknown => decodeControl(Buffer.from(pack(value)));

describe('messages of reverse forwards', () => {
  it('come back as they went', () => {
    fc.assert(
      fc.property(message, (sent) => {
        expect(plain(decodeControl(encodeControl(sent)))).toEqual(plain(sent));
      }),
    );
  });

  it('are refused when a field is missing or something else', () => {
    const change = fc.tuple(fc.nat(), fc.option(fc.anything({ withTypedArray: true }), { nil: undefined }));
    fc.assert(
      fc.property(message, change, (sent, [which, value]) => {
        const fields = Object.keys(sent).filter((name) => name !== 'type');
        const broken = { ...sent, [fields[which % fields.length]!]: value, stranger: 1 };
        try {
          expect(Object.keys(decoded(broken) as object).sort()).toEqual(Object.keys(sent).sort());
        } catch (error) {
          expect((error as BridgeError).code).toBe('PROTOCOL');
        }
      }),
    );
  });

  it('a number that no channel can name, and a set that is too large, are refused', () => {
    const one = { id: 1, spec: '' };
    for (const broken of [
      { type: 'reversed', id: 2 ** 32, spec: '' },
      { type: 'reverse', forwards: [{ id: -1, spec: '' }] },
      { type: 'reverse', forwards: Array(MAX_REVERSE + 1).fill(one) },
    ])
      expect(() => decoded(broken)).toThrow('lacks a field or has one of a wrong type or size');
  });

  it('the largest set fits into a message', () => {
    const forwards = Array(MAX_REVERSE).fill({ id: 2 ** 32 - 1, spec: 'x'.repeat(MAX_SPEC_BYTES) });
    expect(encodeControl({ type: 'reverse', forwards }).length).toBeLessThan(MAX_CONTROL_BYTES);
  });
});
