/* Throughput of one librdkafka client at its default settings.
 *
 *   rdperf produce BOOTSTRAP TOPIC RECORDS [option...]
 *   rdperf consume BOOTSTRAP TOPIC RECORDS [option...]
 *     -s BYTES      record size (1024)
 *     -p PID        broker process whose CPU time and memory are read as well
 *     -X NAME=VALUE a librdkafka setting, for comparisons; none is changed otherwise
 *     -w SECONDS    give up after this long (300)
 *
 * BOOTSTRAP "mock" uses librdkafka's own in-process mock cluster: what the client itself can do.
 * Values are random bytes, so that nothing compresses. A producer counts a record when its delivery report says it is
 * stored; any failed one makes the run fail. A consumer is assigned partition 0 from offset 0, without a group, and checks
 * that offsets have no gap. One JSON object goes to standard output; MB = 10^6 bytes of values. */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { POOL = 8 << 20, BATCH = 1000 };

struct options {
  const char *mode, *bootstrap, *topic;
  int64_t records;
  size_t size;
  int broker_pid;
  double deadline;
};

struct usage {
  double wall, own_cpu, broker_cpu;
};

static int64_t delivered, failed;
static const char *first_error;

static double seconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what, const char *why) {
  fprintf(stderr, "rdperf: %s: %s\n", what, why);
  exit(1);
}

/* User plus system time of another process, in seconds: fields 14 and 15 of its stat line, counted after the name. */
static double cpu_of(int pid) {
  char path[64], line[1024];
  unsigned long user = 0, system = 0;
  if (!pid) return 0;
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *f = fopen(path, "r");
  if (!f || !fgets(line, sizeof line, f)) die(path, "no such process");
  fclose(f);
  const char *after_name = strrchr(line, ')');
  if (!after_name || sscanf(after_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
    die(path, "not understood");
  return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* A line of /proc/PID/status in KiB, such as "VmRSS:" or "VmHWM:". */
static long memory_of(int pid, const char *field) {
  char path[64], line[256];
  long kib = 0;
  if (!pid) return 0;
  snprintf(path, sizeof path, "/proc/%d/status", pid);
  FILE *f = fopen(path, "r");
  if (!f) return 0;
  while (fgets(line, sizeof line, f))
    if (!strncmp(line, field, strlen(field))) sscanf(line + strlen(field), "%ld", &kib);
  fclose(f);
  return kib;
}

static struct usage usage_now(int broker_pid) {
  return (struct usage){seconds(CLOCK_MONOTONIC), seconds(CLOCK_PROCESS_CPUTIME_ID), cpu_of(broker_pid)};
}

static char *random_pool(size_t bytes) {
  uint64_t x = (uint64_t)getpid() * 0x9e3779b97f4a7c15u + (uint64_t)time(NULL) + 1;
  char *pool = malloc(bytes + sizeof x);
  if (!pool) die("random bytes", "no memory");
  for (size_t i = 0; i < bytes; i += sizeof x) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    memcpy(pool + i, &x, sizeof x);
  }
  return pool;
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
  (void)rk, (void)opaque;
  if (!message->err) {
    delivered++;
    return;
  }
  failed++;
  if (!first_error) first_error = rd_kafka_err2str(message->err);
}

static void report(const struct options *o, struct usage from, struct usage to, int64_t records) {
  double bytes = (double)records * (double)o->size, wall = to.wall - from.wall;
  printf("{\"mode\":\"%s\",\"records\":%" PRId64 ",\"record_size\":%zu,\"seconds\":%.3f,\"mb_per_s\":%.1f,"
         "\"client_cpu_s_per_gb\":%.3f",
         o->mode, records, o->size, wall, bytes / wall / 1e6, (to.own_cpu - from.own_cpu) / bytes * 1e9);
  if (o->broker_pid)
    printf(",\"broker_cpu_s_per_gb\":%.3f,\"broker_rss_mb\":%.1f,\"broker_peak_rss_mb\":%.1f",
           (to.broker_cpu - from.broker_cpu) / bytes * 1e9, (double)memory_of(o->broker_pid, "VmRSS:") * 1024 / 1e6,
           (double)memory_of(o->broker_pid, "VmHWM:") * 1024 / 1e6);
  printf("}\n");
}

/* Connects and, where the broker creates topics by itself, waits until this one has a leader: not part of the run. */
static void await_topic(rd_kafka_t *rk, rd_kafka_topic_t *topic, const struct options *o) {
  double give_up = seconds(CLOCK_MONOTONIC) + 30;
  for (;;) {
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, topic, &md, 5000);
    int ready = !err && md->topic_cnt == 1 && !md->topics[0].err && md->topics[0].partition_cnt > 0 &&
                md->topics[0].partitions[0].leader >= 0;
    if (md) rd_kafka_metadata_destroy(md);
    if (ready) return;
    if (seconds(CLOCK_MONOTONIC) > give_up) die(o->topic, err ? rd_kafka_err2str(err) : "no leader");
    usleep(100 * 1000);
  }
}

static void produce(rd_kafka_t *rk, const struct options *o) {
  char *pool = random_pool(POOL + o->size);
  rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, o->topic, NULL);
  if (!topic) die(o->topic, rd_kafka_err2str(rd_kafka_last_error()));
  await_topic(rk, topic, o);
  struct usage from = usage_now(o->broker_pid);
  size_t at = 0;
  for (int64_t i = 0; i < o->records; i++) {
    while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, pool + at, o->size, NULL, 0, NULL)) {
      rd_kafka_resp_err_t err = rd_kafka_last_error();
      if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL) die("produce", rd_kafka_err2str(err));
      rd_kafka_poll(rk, 100);
      if (seconds(CLOCK_MONOTONIC) - from.wall > o->deadline) die("produce", "took too long");
    }
    at = (at + o->size) % POOL;
    if (i % BATCH == 0) rd_kafka_poll(rk, 0);
  }
  while (delivered + failed < o->records) {
    rd_kafka_poll(rk, 100);
    if (seconds(CLOCK_MONOTONIC) - from.wall > o->deadline) die("produce", "took too long");
  }
  struct usage to = usage_now(o->broker_pid);
  if (failed) die("produce", first_error);
  report(o, from, to, delivered);
  rd_kafka_topic_destroy(topic);
  free(pool);
}

static void consume(rd_kafka_t *rk, const struct options *o) {
  static rd_kafka_message_t *messages[BATCH];
  rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, o->topic, NULL);
  if (!topic) die(o->topic, rd_kafka_err2str(rd_kafka_last_error()));
  await_topic(rk, topic, o);
  struct usage from = usage_now(o->broker_pid);
  if (rd_kafka_consume_start(topic, 0, 0)) die("consume", rd_kafka_err2str(rd_kafka_last_error()));
  int64_t next = 0;
  while (next < o->records) {
    ssize_t n = rd_kafka_consume_batch(topic, 0, 1000, messages, BATCH);
    for (ssize_t i = 0; i < n; i++) {
      rd_kafka_message_t *m = messages[i];
      if (m->err && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) die("consume", rd_kafka_message_errstr(m));
      if (!m->err && (m->offset != next || m->len != o->size)) die("consume", "a gap, or a record of another size");
      if (!m->err) next++;
      rd_kafka_message_destroy(m);
    }
    if (seconds(CLOCK_MONOTONIC) - from.wall > o->deadline) die("consume", "took too long");
  }
  struct usage to = usage_now(o->broker_pid);
  report(o, from, to, next);
  rd_kafka_consume_stop(topic, 0);
  rd_kafka_topic_destroy(topic);
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
  char error[256];
  if (rd_kafka_conf_set(conf, name, value, error, sizeof error)) die(name, error);
}

static void set_pair(rd_kafka_conf_t *conf, char *pair) {
  char *equals = strchr(pair, '=');
  if (!equals) die(pair, "is not NAME=VALUE");
  *equals = 0;
  set(conf, pair, equals + 1);
}

int main(int argc, char **argv) {
  if (argc < 5) die("usage", "rdperf produce|consume BOOTSTRAP TOPIC RECORDS [-s BYTES] [-p PID] [-X NAME=VALUE] [-w SECONDS]");
  struct options o = {argv[1], argv[2], argv[3], atoll(argv[4]), 1024, 0, 300};
  int producing = !strcmp(o.mode, "produce");
  if (!producing && strcmp(o.mode, "consume")) die(o.mode, "is neither produce nor consume");
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  for (int option; (option = getopt(argc - 4, argv + 4, "s:p:X:w:")) != -1;) {
    if (option == 's') o.size = (size_t)atol(optarg);
    else if (option == 'p') o.broker_pid = atoi(optarg);
    else if (option == 'X') set_pair(conf, optarg);
    else if (option == 'w') o.deadline = atof(optarg);
    else return 2;
  }
  if (!strcmp(o.bootstrap, "mock")) set(conf, "test.mock.num.brokers", "1");
  else set(conf, "bootstrap.servers", o.bootstrap);
  if (producing) rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  char error[256];
  rd_kafka_t *rk = rd_kafka_new(producing ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER, conf, error, sizeof error);
  if (!rk) die("client", error);
  (producing ? produce : consume)(rk, &o);
  rd_kafka_destroy(rk);
  return 0;
}
