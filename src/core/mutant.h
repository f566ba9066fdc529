/*
** mutant.h - deliberate bugs, each behind a flag of its own
**
** MUTANT(name) is the constant 1 under -DMUTANT_name, and 0 in every other
** build, where the compiler drops what hangs on it. The name says what goes
** wrong; each stands at one place. `make mutants` finds them by this word,
** builds each alone, and wants a test of the project to turn red.
**
** Thread: any (constants).
*/
#ifndef STRAND_MUTANT_H
#define STRAND_MUTANT_H

/* MUTANT_HOLE_1 brings a comma: what is second then is the 1. A name that is
** not defined stays a word without a comma, and second is the 0. */
#define MUTANT(name) MUTANT_VALUE(MUTANT_##name)
#define MUTANT_VALUE(value) MUTANT_HOLE(value)
#define MUTANT_HOLE(value) MUTANT_ONE_OR_ZERO(MUTANT_HOLE_##value)
#define MUTANT_ONE_OR_ZERO(hole) MUTANT_SECOND(hole 1, 0, 0)
#define MUTANT_SECOND(first, second, ...) second
#define MUTANT_HOLE_1 0,

#endif
