/* iscsiverify: puts load on an iSCSI disk and proves what became of it.
 *
 * One thread, one session, up to --depth commands in flight. Without --state it only
 * measures. With --state each write is stamped (stamp.h) and the state file, which is
 * mapped and so survives this program too, remembers per slot the generation last sent
 * and last acknowledged. After the target was killed and restarted, --check reads
 * every slot: an acknowledged generation must be there; one that was sent but not
 * acknowledged may be. The area must have read as zeros when the state file was made.
 *
 * --ring is the test for prefix consistency: a single writer numbers its writes 1, 2,
 * 3... and lets write k fall on a slot that follows from k, over and over. What is on
 * the disk afterwards must be the result of the writes 1 to c for one c and nothing else.
 *
 * One line of JSON goes to stdout. Exit status: 0 all is well; 1 wrong data; 2 usage;
 * 3 cannot log in, or the connection was lost; 4 the target reported an I/O error.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include "histogram.h"
#include "stamp.h"

enum { EXIT_WRONG = 1, EXIT_USAGE, EXIT_LOST, EXIT_IO };
enum kind { READ, WRITE, ZERO, FLUSH };

static struct {
	const char *url, *state, *initiator;
	int sequential, read_percent, zero_percent, ring, check, fua, sparse;
	int bs, depth, flush_every;
	double seconds, warm_up;
	uint64_t size, offset, count, at_least, seed;
} opt = { .initiator = "iqn.2026-11.io.sluice.test:verify", .bs = 4096, .depth = 1, .seconds = 5 };

/* The state file: this header, then a slot for each block of the area under test. */
struct state {
	uint64_t magic, run, bs, slots, offset, zero_percent, ring;
	uint64_t sent, acked, flushed; /* numbers of writes, in ring mode */
	struct { uint32_t sent, acked; } slot[];
};

struct op {
	enum kind kind;
	uint64_t slot, number, start;
	uint8_t *buf;
	struct scsi_iovec iov;
	struct unmap_list unmap;
	struct op *next;
};

static struct iscsi_context *session;
static int lun, sector_size;
static uint64_t slots, cursor, issued, random_state;
static struct state *st;
static uint8_t *busy;      /* slots with a command in flight */
static uint64_t *ring_got; /* --check --ring: what each slot holds */
static struct op *idle;
static int in_flight, since_flush, stopping, lost, measuring;
static uint64_t done_by[4], verified, wrong, io_errors;
static struct histogram latency;
static char message[256];
static volatile sig_atomic_t interrupted;

static void on_signal(int sig) { (void)sig; interrupted = 1; }

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t next_random(void) { return mix(random_state += 0x9e3779b97f4a7c15ull); }

static void note(const char *format, const char *what, uint64_t a, uint64_t b)
{
	if (!*message)
		snprintf(message, sizeof message, format, what, (unsigned long long)a, (unsigned long long)b);
}

static void lose(void)
{
	lost = stopping = 1;
	note("%s", iscsi_get_error(session), 0, 0);
}

/* ---- what the writes are */

static int is_zero(uint64_t salt, uint64_t number)
{
	return mix(st->run ^ mix(salt) ^ mix(number)) % 100 < st->zero_percent;
}
static uint64_t ring_slot(uint64_t number) { return mix(st->run + mix(number)) % slots; }
static uint64_t slot_sector(uint64_t slot) { return (opt.offset + slot * (uint64_t)opt.bs) / SECTOR; }

static void bad(const char *what, uint64_t slot, uint64_t number)
{
	if (wrong++ < 10)
		fprintf(stderr, "iscsiverify: slot %llu (sector %llu): %s (holds %llu; acknowledged %u, sent %u)\n", (unsigned long long)slot,
			(unsigned long long)slot_sector(slot), what, (unsigned long long)number, st->slot[slot].acked, st->slot[slot].sent);
	note("slot %2$llu: %1$s (holds %3$llu)", what, slot, number);
}

/* check_slot compares what was read with what may be there. */
static void check_slot(uint64_t slot, const uint8_t *data)
{
	uint32_t acked = st->slot[slot].acked, sent = st->slot[slot].sent;
	uint64_t number = 0;
	int zero_allowed = acked == 0;

	verified++;
	switch (stamp_read(data, opt.bs, st->run, slot_sector(slot), &number)) {
	case STAMP_FOREIGN:
		bad("data that was never written here", slot, number);
		return;
	case STAMP_TORN:
		bad("torn, or damaged", slot, number);
		return;
	case STAMP_ZERO:
		if (ring_got)
			return;
		for (uint64_t g = acked; g && g <= sent; g++)
			zero_allowed |= is_zero(slot, g);
		if (!zero_allowed)
			bad("zeros where a write was acknowledged", slot, 0);
		return;
	case STAMP_OK:
		break;
	}
	if (ring_got)
		ring_got[slot] = number;
	else if (number < acked)
		bad("an old generation", slot, number);
	else if (number > sent)
		bad("a generation that was never sent", slot, number);
	else if (is_zero(slot, number))
		bad("a generation that was zeros", slot, number);
	else
		st->slot[slot].acked = (uint32_t)number; /* once seen, it has to stay */
}

/* check_ring looks for the one cut-off that explains all slots: that of the greatest
 * number seen, or a little later if the writes that follow it were zeros. */
static uint64_t check_ring(void)
{
	uint64_t *want = calloc(slots, sizeof *want), last = 0, cut = 0, differ = 0;

	for (uint64_t i = 0; i < slots; i++)
		last = ring_got[i] > last ? ring_got[i] : last;
	for (;; cut++) {
		if (cut)
			want[ring_slot(cut)] = is_zero(0, cut) ? 0 : cut;
		if (cut < last)
			continue;
		differ = 0;
		for (uint64_t i = 0; i < slots; i++)
			differ += want[i] != ring_got[i];
		if ((!differ && cut >= opt.at_least) || cut >= st->sent || !is_zero(0, cut + 1))
			break;
	}
	for (uint64_t i = 0, shown = 0; differ && i < slots && shown < 10; i++)
		if (want[i] != ring_got[i])
			fprintf(stderr, "iscsiverify: not a prefix: slot %llu holds write %llu; the last of the writes up to %llu there is %llu (place %llu)\n",
				(unsigned long long)i, (unsigned long long)ring_got[i], (unsigned long long)cut, (unsigned long long)want[i], (unsigned long long)++shown);
	if (differ) {
		wrong += differ;
		note("%snot a prefix: %llu slots differ at cut-off %llu", "", differ, cut);
	} else if (cut < opt.at_least) {
		wrong++;
		note("%sa prefix of %llu writes, but %llu had to be there", "", cut, opt.at_least);
	} else if (cut > st->sent) {
		wrong++;
		note("%swrite %llu was never sent (last: %llu)", "", cut, st->sent);
	} else {
		st->sent = st->acked = st->flushed = cut; /* the writer goes on from what is there */
	}
	free(want);
	return cut;
}

/* ---- commands */

static void finish(struct iscsi_context *context, int status, void *data, void *private)
{
	struct op *op = private;
	struct scsi_task *task = data;
	(void)context;

	in_flight--;
	if (busy && op->kind != FLUSH)
		busy[op->slot] = 0;
	if (status == SCSI_STATUS_GOOD) {
		if (measuring) {
			done_by[op->kind]++;
			histogram_add(&latency, now() - op->start);
		}
		if (op->kind == READ && task->residual_status != SCSI_RESIDUAL_NO_RESIDUAL) {
			io_errors++;
			note("%sshort read: residual %llu", "", task->residual, 0);
		} else if (st && op->kind == READ) {
			check_slot(op->slot, op->buf);
		} else if (st && op->kind == FLUSH) {
			st->flushed = op->number;
		} else if (st && opt.ring) {
			st->acked = op->number;
		} else if (st) {
			st->slot[op->slot].acked = (uint32_t)op->number;
		}
	} else if (status == SCSI_STATUS_CHECK_CONDITION && task->sense.key == SCSI_SENSE_UNIT_ATTENTION) {
		if (opt.ring && op->kind != FLUSH)
			st->sent = op->number - 1; /* not carried out: send the same again */
	} else if (status == SCSI_STATUS_CHECK_CONDITION) {
		io_errors++;
		note("%ssense key %llu, code %llu", "", task->sense.key, (uint64_t)task->sense.ascq);
		stopping = opt.ring || io_errors > 100; /* a ring must not have a gap */
	} else if (status == SCSI_STATUS_CANCELLED || status == SCSI_STATUS_ERROR || status == SCSI_STATUS_TIMEOUT) {
		lose();
	} else {
		io_errors++;
		note("%sstatus %llu", "", (uint64_t)status, 0);
		stopping = opt.ring;
	}
	if (task)
		scsi_free_scsi_task(task);
	op->next = idle;
	idle = op;
}

/* choose decides what the next command is; 0 means that there is none now. */
static int choose(struct op *op)
{
	if (opt.check) {
		while (!opt.ring && cursor < slots && st->slot[cursor].sent == 0)
			cursor++;
		if (cursor >= slots)
			return 0;
		op->kind = READ;
		op->slot = cursor++;
		return 1;
	}
	if (opt.count && issued >= opt.count)
		return 0;
	op->number = st ? st->acked : 0;
	if (opt.flush_every && since_flush >= opt.flush_every) {
		op->kind = FLUSH;
		since_flush = 0;
		return 1;
	}
	if (opt.ring) {
		op->number = ++st->sent;
		op->slot = ring_slot(op->number);
		op->kind = is_zero(0, op->number) ? ZERO : WRITE;
	} else {
		op->kind = (int)(next_random() % 100) < opt.read_percent ? READ : WRITE;
		for (int tries = 0; tries < 100; tries++) {
			op->slot = opt.sequential ? cursor++ % slots : next_random() % slots;
			if (!busy || !busy[op->slot])
				break;
		}
		if (busy && busy[op->slot])
			return 0;
		if (st && op->kind == WRITE) {
			op->number = ++st->slot[op->slot].sent;
			op->kind = is_zero(op->slot, op->number) ? ZERO : WRITE;
		}
	}
	issued++;
	since_flush += op->kind != READ;
	return 1;
}

static int send_command(struct op *op)
{
	uint64_t lba = (opt.offset + op->slot * (uint64_t)opt.bs) / (uint64_t)sector_size;
	uint32_t length = (uint32_t)opt.bs;
	struct scsi_task *task = NULL;

	op->iov = (struct scsi_iovec){ .iov_base = op->buf, .iov_len = length };
	op->start = now();
	switch (op->kind) {
	case READ:
		task = iscsi_read16_iov_task(session, lun, lba, length, sector_size, 0, 0, 0, 0, 0, finish, op, &op->iov, 1);
		break;
	case WRITE:
		if (st)
			stamp(op->buf, opt.bs, st->run, slot_sector(op->slot), op->number);
		else
			for (int i = 0; i < opt.bs; i += 4096)
				memcpy(op->buf + i, &(uint64_t){ next_random() }, 8);
		task = iscsi_write16_iov_task(session, lun, lba, NULL, length, sector_size, 0, 0, opt.fua, 0, 0, finish, op, &op->iov, 1);
		break;
	case ZERO:
		if (op->number % 2) {
			op->unmap = (struct unmap_list){ .lba = lba, .num = length / (uint32_t)sector_size };
			task = iscsi_unmap_task(session, lun, 0, 0, &op->unmap, 1, finish, op);
		} else {
			memset(op->buf, 0, (size_t)sector_size);
			task = iscsi_writesame16_task(session, lun, lba, op->buf, (uint32_t)sector_size, length / (uint32_t)sector_size, 0, 0, 0, 0, finish, op);
		}
		break;
	case FLUSH:
		task = iscsi_synchronizecache16_task(session, lun, 0, 0, 0, 0, finish, op);
		break;
	}
	return task != NULL;
}

static void fill_queue(void)
{
	while (!stopping && idle && in_flight < opt.depth) {
		struct op *op = idle;
		if (!choose(op))
			return;
		idle = op->next;
		if (busy && op->kind != FLUSH)
			busy[op->slot] = 1;
		in_flight++;
		if (!send_command(op)) {
			in_flight--;
			lose();
		}
	}
}

/* run drives the session until the deadline (0: none), and then, or when nothing more
 * is to be sent, until every command is answered. */
static void run(uint64_t deadline)
{
	for (;;) {
		struct pollfd p = { .fd = iscsi_get_fd(session) };
		if (interrupted || (deadline && now() >= deadline))
			break;
		fill_queue();
		if (lost || !in_flight)
			break;
		p.events = (short)iscsi_which_events(session);
		if (poll(&p, 1, 1000) > 0 && iscsi_service(session, p.revents) < 0)
			lose();
	}
}

static void drain(void)
{
	uint64_t deadline = now() + 120ull * 1000000000;

	stopping = 1;
	while (in_flight && !lost) {
		struct pollfd p = { .fd = iscsi_get_fd(session), .events = (short)iscsi_which_events(session) };
		if ((poll(&p, 1, 1000) > 0 && iscsi_service(session, p.revents) < 0) || now() > deadline)
			lose();
	}
}

/* ---- set-up and report */

static int fail(int status, const char *what, const char *why)
{
	fprintf(stderr, "iscsiverify: %s: %s\n", what, why);
	exit(status);
}

static void log_in(void)
{
	session = iscsi_create_context(opt.initiator);
	struct iscsi_url *url = iscsi_parse_full_url(session, opt.url);
	if (!url)
		fail(EXIT_USAGE, opt.url, iscsi_get_error(session));
	lun = url->lun;
	iscsi_set_session_type(session, ISCSI_SESSION_NORMAL);
	iscsi_set_targetname(session, url->target);
	iscsi_set_noautoreconnect(session, 1);
	if (iscsi_full_connect_sync(session, url->portal, url->lun))
		fail(EXIT_LOST, "login", iscsi_get_error(session));
	iscsi_destroy_url(url);

	struct scsi_task *task = iscsi_readcapacity16_sync(session, lun);
	struct scsi_readcapacity16 *capacity = task && task->status == SCSI_STATUS_GOOD ? scsi_datain_unmarshall(task) : NULL;
	if (!capacity)
		fail(EXIT_LOST, "READ CAPACITY", iscsi_get_error(session));
	sector_size = (int)capacity->block_length;
	uint64_t bytes = (capacity->returned_lba + 1) * capacity->block_length;
	scsi_free_scsi_task(task);
	if (opt.bs % sector_size || opt.offset % (uint64_t)sector_size || opt.offset >= bytes)
		fail(EXIT_USAGE, "--bs, --offset", "do not fit the disk");
	if (!opt.size || opt.offset + opt.size > bytes)
		opt.size = bytes - opt.offset;
	slots = opt.size / (uint64_t)opt.bs;
	if (!slots)
		fail(EXIT_USAGE, "--size", "smaller than one block");
}

static void open_state(void)
{
	struct state want = { STAMP_MAGIC, opt.seed, (uint64_t)opt.bs, slots, opt.offset, (uint64_t)opt.zero_percent, (uint64_t)opt.ring, 0, 0, 0 };
	size_t bytes = sizeof want + slots * sizeof st->slot[0];
	int fd = open(opt.state, O_RDWR | O_CREAT, 0600);
	off_t have = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);

	if (have < 0 || (have == 0 && ftruncate(fd, (off_t)bytes)))
		fail(EXIT_USAGE, opt.state, strerror(errno));
	if (have && have != (off_t)bytes)
		fail(EXIT_USAGE, opt.state, "made for another size");
	st = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (st == MAP_FAILED)
		fail(EXIT_USAGE, opt.state, strerror(errno));
	if (!have)
		memcpy(st, &want, sizeof want);
	want.run = st->run;
	want.zero_percent = st->zero_percent;
	if (memcmp(st, &want, offsetof(struct state, sent)))
		fail(EXIT_USAGE, opt.state, "made with other options");
	close(fd);
	busy = calloc(slots, 1);
	if (opt.check && opt.ring)
		ring_got = calloc(slots, sizeof *ring_got);
}

static void make_ops(void)
{
	for (int i = 0; i < opt.depth; i++) {
		struct op *op = calloc(1, sizeof *op);
		if (!op || posix_memalign((void **)&op->buf, 4096, (size_t)opt.bs))
			fail(EXIT_USAGE, "memory", strerror(errno));
		memset(op->buf, 0, (size_t)opt.bs);
		for (int j = 0; j < opt.bs && !opt.sparse; j += 8)
			memcpy(op->buf + j, &(uint64_t){ next_random() }, 8);
		op->next = idle;
		idle = op;
	}
}

static void report(double seconds, uint64_t cut)
{
	uint64_t ops = done_by[READ] + done_by[WRITE] + done_by[ZERO];

	printf("{\"ops\":%llu,\"reads\":%llu,\"writes\":%llu,\"zeroes\":%llu,\"flushes\":%llu,\"seconds\":%.3f,\"iops\":%.0f,\"mib_s\":%.2f", (unsigned long long)ops,
	       (unsigned long long)done_by[READ], (unsigned long long)done_by[WRITE], (unsigned long long)done_by[ZERO], (unsigned long long)done_by[FLUSH],
	       seconds, (double)ops / seconds, (double)ops / seconds * opt.bs / 1048576);
	printf(",\"mean_us\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f", latency.count ? (double)latency.sum / (double)latency.count / 1e3 : 0,
	       histogram_us(&latency, .5), histogram_us(&latency, .99), histogram_us(&latency, .999), (double)latency.max / 1e3);
	printf(",\"verified\":%llu,\"wrong\":%llu,\"io_errors\":%llu,\"lost\":%s", (unsigned long long)verified, (unsigned long long)wrong, (unsigned long long)io_errors, lost ? "true" : "false");
	if (opt.ring)
		printf(",\"sent\":%llu,\"acked\":%llu,\"flushed\":%llu,\"cut\":%llu", (unsigned long long)st->sent, (unsigned long long)st->acked, (unsigned long long)st->flushed, (unsigned long long)cut);
	for (char *c = message; *c; c++)
		if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
			*c = '\'';
	printf(",\"message\":\"%s\"}\n", message);
}

static uint64_t number(const char *text)
{
	char *end;
	double value = strtod(text, &end);

	switch (*end) {
	case 'k': value *= 1 << 10; break;
	case 'm': value *= 1 << 20; break;
	case 'g': value *= 1 << 30; break;
	}
	return (uint64_t)value;
}

static void usage(void)
{
	fputs("usage: iscsiverify [options] iscsi://[user%secret@]host:port/target/lun\n"
	      "  --bs N[k|m]     bytes of a command (4k)      --depth N      commands in flight (1)\n"
	      "  --seconds S     measured time (5)            --warm-up S    before that (0)\n"
	      "  --count N       stop after N commands        --flush N      SYNCHRONIZE CACHE after every N writes\n"
	      "  --size, --offset N  the part of the disk     --sequential   in order, not at random\n"
	      "  --read P        percent of reads (0)         --zero P       percent of writes that are UNMAP or WRITE SAME\n"
	      "  --fua           writes with FUA              --sparse       data of almost only zeros\n"
	      "  --seed N        --initiator IQN\n"
	      "  --state FILE    stamp writes, check reads, remember what was acknowledged\n"
	      "  --check         with --state: only read everything back and compare\n"
	      "  --ring          with --state: a single numbered writer; with --check: prefix test\n"
	      "  --at-least N    the prefix must have N writes\n", stderr);
	exit(EXIT_USAGE);
}

static void parse(int argc, char **argv)
{
	enum { BS = 1, DEPTH, SECONDS, WARM, COUNT, FLUSH_EVERY, SIZE, OFFSET, READS, ZEROES, SEED, INITIATOR, STATE, AT_LEAST };
	static const struct option options[] = {
		{ "bs", 1, 0, BS }, { "depth", 1, 0, DEPTH }, { "seconds", 1, 0, SECONDS }, { "warm-up", 1, 0, WARM }, { "count", 1, 0, COUNT },
		{ "flush", 1, 0, FLUSH_EVERY }, { "size", 1, 0, SIZE }, { "offset", 1, 0, OFFSET }, { "read", 1, 0, READS }, { "zero", 1, 0, ZEROES },
		{ "seed", 1, 0, SEED }, { "initiator", 1, 0, INITIATOR }, { "state", 1, 0, STATE }, { "at-least", 1, 0, AT_LEAST },
		{ "sequential", 0, &opt.sequential, 1 }, { "fua", 0, &opt.fua, 1 }, { "sparse", 0, &opt.sparse, 1 }, { "check", 0, &opt.check, 1 }, { "ring", 0, &opt.ring, 1 }, { 0 }
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 0: break;
		case BS: opt.bs = (int)number(optarg); break;
		case DEPTH: opt.depth = atoi(optarg); break;
		case SECONDS: opt.seconds = atof(optarg); break;
		case WARM: opt.warm_up = atof(optarg); break;
		case COUNT: opt.count = number(optarg); break;
		case FLUSH_EVERY: opt.flush_every = atoi(optarg); break;
		case SIZE: opt.size = number(optarg); break;
		case OFFSET: opt.offset = number(optarg); break;
		case READS: opt.read_percent = atoi(optarg); break;
		case ZEROES: opt.zero_percent = atoi(optarg); break;
		case SEED: opt.seed = strtoull(optarg, NULL, 0); break;
		case INITIATOR: opt.initiator = optarg; break;
		case STATE: opt.state = optarg; break;
		case AT_LEAST: opt.at_least = strtoull(optarg, NULL, 0); break;
		default: usage();
		}
	if (optind != argc - 1 || opt.bs < SECTOR || opt.bs % SECTOR || opt.depth < 1 || opt.depth > 1024 || opt.seconds <= 0)
		usage();
	if ((opt.check || opt.ring || opt.zero_percent) && !opt.state)
		usage();
	if (opt.ring && !opt.check)
		opt.depth = 1;
	if (!opt.seed)
		opt.seed = mix(now() ^ (uint64_t)getpid()) | 1;
	random_state = mix(opt.seed ^ now());
	opt.url = argv[optind];
}

int main(int argc, char **argv)
{
	uint64_t start, cut = 0;
	double seconds;

	parse(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	log_in();
	if (opt.state)
		open_state();
	make_ops();
	if (opt.warm_up > 0)
		run(now() + (uint64_t)(opt.warm_up * 1e9));
	measuring = 1;
	start = now();
	run(opt.check || opt.count ? 0 : start + (uint64_t)(opt.seconds * 1e9));
	seconds = (double)(now() - start) / 1e9;
	measuring = 0;
	drain();
	if (ring_got && !lost && !io_errors)
		cut = check_ring();
	if (!lost)
		iscsi_logout_sync(session);
	report(seconds, cut);
	return wrong ? EXIT_WRONG : lost ? EXIT_LOST : io_errors ? EXIT_IO : 0;
}
