/* What a write contains, so that a later read can tell exactly which write it sees.
 *
 * Every 512-byte sector begins with
 *
 *	+0  magic    +8  run (the state file's seed)    +16  sector number    +24  number
 *
 * and goes on with pseudo-random words that follow from these four. "Number" is the
 * slot's generation, or in ring mode the number of the write.
 */
#ifndef STAMP_H
#define STAMP_H
#include <stdint.h>
#include <string.h>

#define SECTOR 512
#define STAMP_MAGIC 0x6563697565756c73ull

static inline uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ull;
	x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ull;
	return x ^ (x >> 32);
}

static inline void stamp_sector(uint8_t *p, uint64_t run, uint64_t sector, uint64_t number)
{
	uint64_t w[SECTOR / 8] = { STAMP_MAGIC, run, sector, number };
	uint64_t x = mix(run ^ mix(sector ^ mix(number + 1))) | 1;

	for (int i = 4; i < SECTOR / 8; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		w[i] = x;
	}
	memcpy(p, w, SECTOR);
}

static inline void stamp(uint8_t *p, int bytes, uint64_t run, uint64_t sector, uint64_t number)
{
	for (int i = 0; i < bytes; i += SECTOR)
		stamp_sector(p + i, run, sector++, number);
}

enum stamp_result { STAMP_OK, STAMP_ZERO, STAMP_FOREIGN, STAMP_TORN };

/* stamp_read tells which number a slot holds. Torn: not one whole write of this run. */
static inline enum stamp_result stamp_read(const uint8_t *p, int bytes, uint64_t run, uint64_t sector, uint64_t *number)
{
	uint8_t want[SECTOR];
	uint64_t w[4];
	int zero = 1;

	for (int i = 0; i < bytes && zero; i++)
		zero = p[i] == 0;
	if (zero)
		return STAMP_ZERO;
	memcpy(w, p, sizeof w);
	if (w[0] != STAMP_MAGIC || w[1] != run || w[2] != sector)
		return STAMP_FOREIGN;
	*number = w[3];
	for (int i = 0; i < bytes; i += SECTOR) {
		stamp_sector(want, run, sector++, *number);
		if (memcmp(want, p + i, SECTOR))
			return STAMP_TORN;
	}
	return STAMP_OK;
}
#endif
