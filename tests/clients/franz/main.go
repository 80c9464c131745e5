// Cases for franz-go: prints one JSON line a case. Usage: franz HOST:PORT
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const records = 2000

var address string

func main() {
	address = os.Args[1]
	run("idempotent producer (its default)", func() error { return roundTrip("franz-idempotent", 0) })
	run("plain producer", func() error {
		return roundTrip("franz-plain", 0, kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck()))
	})
	codecs := map[string]kgo.CompressionCodec{
		"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	for _, name := range []string{"gzip", "snappy", "lz4", "zstd"} {
		run("codec "+name, func() error { return roundTrip("franz-"+name, 0, kgo.ProducerBatchCompression(codecs[name])) })
	}
	run("900 KB records", func() error { return roundTrip("franz-big", 900_000) })
	run("one record too many is noticed", func() error {
		if err := expect("franz-plain", records+1, 0, 3*time.Second); err == nil {
			return fmt.Errorf("it was not")
		}
		return nil
	})
	run("create and delete a topic", topics)
}

func run(name string, f func() error) {
	result := map[string]any{"case": name, "error": nil}
	if err := f(); err != nil {
		result["error"] = err.Error()
	}
	line, _ := json.Marshal(result)
	fmt.Println(string(line))
}

func value(i, size int) []byte {
	text := []byte(fmt.Sprintf("v%06d", i))
	return append(text, bytes.Repeat([]byte{'x'}, max(0, size-len(text)))...)
}

func roundTrip(topic string, size int, opts ...kgo.Opt) error {
	count := records
	if size > 0 {
		count = 10
	}
	opts = append(opts, kgo.SeedBrokers(address), kgo.AllowAutoTopicCreation(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var batch []*kgo.Record
	for i := range count {
		batch = append(batch, &kgo.Record{Topic: topic, Value: value(i, size), Key: []byte{byte(i)},
			Headers: []kgo.RecordHeader{{Key: "h", Value: nil}}})
	}
	for i, result := range client.ProduceSync(ctx, batch...) {
		if result.Err != nil {
			return fmt.Errorf("record %d: %w", i, result.Err)
		}
		if result.Record.Offset != int64(i) {
			return fmt.Errorf("record %d was acknowledged at offset %d", i, result.Record.Offset)
		}
	}
	return expect(topic, count, size, time.Minute)
}

func expect(topic string, count, size int, patience time.Duration) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for i := 0; i < count; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("after %d of %d records: %w", i, count, err)
		}
		var wrong error
		fetches.EachRecord(func(r *kgo.Record) {
			fine := r.Offset == int64(i) && bytes.Equal(r.Value, value(i, size)) && bytes.Equal(r.Key, []byte{byte(i)}) &&
				len(r.Headers) == 1 && r.Headers[0].Key == "h" && r.Headers[0].Value == nil
			if !fine && wrong == nil {
				wrong = fmt.Errorf("record %d came as offset %d, key %v, %d bytes", i, r.Offset, r.Key, len(r.Value))
			}
			i++
		})
		if wrong != nil {
			return wrong
		}
	}
	return nil
}

func topics() error {
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	create := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "franz-topic", 3, 1
	create.Topics = append(create.Topics, topic)
	create.TimeoutMillis = 30_000
	created, err := create.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	if code := created.Topics[0].ErrorCode; code != 0 {
		return fmt.Errorf("create answered %d", code)
	}
	remove := kmsg.NewPtrDeleteTopicsRequest()
	name := "franz-topic"
	gone := kmsg.NewDeleteTopicsRequestTopic()
	gone.Topic = &name
	remove.Topics, remove.TopicNames = append(remove.Topics, gone), []string{name}
	remove.TimeoutMillis = 30_000
	removed, err := remove.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	if code := removed.Topics[0].ErrorCode; code != 0 {
		return fmt.Errorf("delete answered %d", code)
	}
	return nil
}
