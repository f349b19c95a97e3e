/* Latencies in nanoseconds, in buckets that are 1/64 wide relative to their value. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H
#include <stdint.h>

#define SUB_BITS 6
#define SUBS (1 << SUB_BITS)

struct histogram {
	uint64_t count, sum, max;
	uint64_t bucket[64 << SUB_BITS];
};

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
	int shift = ns < 2 * SUBS ? 0 : 63 - SUB_BITS - __builtin_clzll(ns);

	h->bucket[(uint64_t)shift * SUBS + (ns >> shift)]++;
	h->count++;
	h->sum += ns;
	if (ns > h->max)
		h->max = ns;
}

/* The smallest value, in microseconds, that at least share of all samples do not exceed. */
static inline double histogram_us(const struct histogram *h, double share)
{
	double want = share * (double)h->count;
	uint64_t seen = 0;

	for (int i = 0; i < 64 << SUB_BITS; i++) {
		seen += h->bucket[i];
		if (seen && (double)seen >= want) {
			int shift = i < 2 * SUBS ? 0 : i / SUBS - 1;
			double ns = (double)((uint64_t)(i - shift * SUBS) << shift);
			return (ns < (double)h->max ? ns : (double)h->max) / 1e3;
		}
	}
	return 0;
}
#endif
