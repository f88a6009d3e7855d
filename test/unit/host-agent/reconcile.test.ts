import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type HeldClaim, reconcile } from '../../../host-agent/control/reconcile.ts';
import type { WantedClaim } from '../../../shared/claim-messages.ts';

const id = fc.nat({ max: 12 });
const spec = fc.constantFrom('a', 'b', 'c');
const held: fc.Arbitrary<HeldClaim[]> = fc.uniqueArray(
  fc.record({ id, asked: spec, resolved: fc.option(spec, { nil: undefined }) }),
  { selector: (each) => each.id },
);
const wanted: fc.Arbitrary<WantedClaim[]> = fc.uniqueArray(fc.record({ id, spec }), {
  selector: (each) => each.id,
});

it('every claim that is held is kept or dropped, and what is kept and added is what is wanted', () => {
  fc.assert(
    fc.property(held, wanted, (has, wants) => {
      const { keep, add, drop } = reconcile(has, wants);
      expect([...keep, ...drop].sort()).toEqual(has.map((each) => each.id).sort());
      expect([...keep, ...add.map((each) => each.id)].sort()).toEqual(wants.map((each) => each.id).sort());
      for (const each of add) expect(wants).toContainEqual(each);
    }),
  );
});

it('keeps exactly what has the same number and is asked for as before, or as it came out', () => {
  fc.assert(
    fc.property(held, wanted, (has, wants) => {
      const { keep } = reconcile(has, wants);
      for (const { id, asked, resolved } of has) {
        const now = wants.find((each) => each.id === id)?.spec;
        expect(keep.includes(id)).toBe(now !== undefined && (now === asked || now === resolved));
      }
    }),
  );
});

it('done twice changes nothing the second time', () => {
  fc.assert(
    fc.property(held, wanted, (has, wants) => {
      const { keep, add } = reconcile(has, wants);
      const after = [
        ...has.filter((each) => keep.includes(each.id)),
        ...add.map((each) => ({ id: each.id, asked: each.spec, resolved: undefined })),
      ];
      expect(reconcile(after, wants)).toEqual({ keep: after.map((each) => each.id), add: [], drop: [] });
    }),
  );
});

it('of a number that is wanted twice the last counts', () => {
  const twice = [
    { id: 1, spec: 'a' },
    { id: 1, spec: 'b' },
  ];
  expect(reconcile([], twice).add).toEqual([{ id: 1, spec: 'b' }]);
});
