// The common scenario with franz-go. See ../../README.md for the steps.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	. "hadron/compat/steps"
)

var (
	args = ParseArgs()
	ctx  = context.Background()
	adm  *kadm.Client
)

func main() {
	adm = kadm.NewClient(client())
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		Step("codec "+codec, func() string { return codecStep(codec, codecs[codec]) })
	}
	Step("headers", headers)
	Step("nulls", nulls)
	Step("large", large)
	Step("seek by time", seekByTime)
	Step("idempotent", idempotent)
	Step("commit", commit)
	Step("group", group)
	Step("static member", staticMember)
	Step("admin", adminTopics)
	Step("auto-create", autoCreate)
	os.Exit(0)
}

func codecStep(codec string, option kgo.CompressionCodec) string {
	topic := createTopic("codec-"+codec, 2)
	values := CodecValues(codec)
	var records []*kgo.Record
	for i, value := range values {
		records = append(records, &kgo.Record{Topic: topic, Key: []byte(strconv.Itoa(i)), Value: []byte(value)})
	}
	produce(records, kgo.ProducerBatchCompression(option))
	Check(SameSet(valuesOf(readAll(topic, 200)), values), "values differ")
	return "200 records"
}

func headers() string {
	topic := createTopic("headers", 1)
	sent := []kgo.RecordHeader{
		{Key: "a", Value: []byte("one")}, {Key: "b", Value: []byte{0, 255}},
		{Key: "empty", Value: []byte{}}, {Key: "null"}, {Key: "a", Value: []byte("two")},
	}
	produce([]*kgo.Record{{Topic: topic, Value: []byte("v"), Headers: sent}})
	got := readAll(topic, 1)[0].Headers
	Check(len(got) == len(sent), "%d headers", len(got))
	for i := range sent {
		same := got[i].Key == sent[i].Key && bytes.Equal(got[i].Value, sent[i].Value)
		Check(same && (got[i].Value == nil) == (sent[i].Value == nil), "header %d: %v", i, got[i])
	}
	return "5 headers: repeated, binary, empty, null"
}

func nulls() string {
	topic := createTopic("nulls", 1)
	produce([]*kgo.Record{
		{Topic: topic, Value: []byte("no key")},
		{Topic: topic, Key: []byte("tombstone")},
		{Topic: topic, Key: []byte{}, Value: []byte{}},
	})
	got := readAll(topic, 3)
	Check(got[0].Key == nil && got[1].Value == nil, "null lost")
	Check(got[2].Key != nil && got[2].Value != nil, "empty became null")
	return "null key, null value, empty ones"
}

func large() string {
	topic := createTopic("large", 1)
	value := LargeValue()
	produce([]*kgo.Record{{Topic: topic, Value: value}, {Topic: topic, Value: []byte("small")}})
	Check(bytes.Equal(readAll(topic, 2)[0].Value, value), "value differs")
	return fmt.Sprintf("%d bytes", len(value))
}

func seekByTime() string {
	topic := createTopic("seek", 1)
	base := time.Now().Add(-1000 * time.Second).Truncate(time.Millisecond)
	var records []*kgo.Record
	for i := range 10 {
		at := base.Add(time.Duration(i) * time.Second)
		records = append(records, &kgo.Record{Topic: topic, Value: []byte(strconv.Itoa(i)), Timestamp: at})
	}
	produce(records)
	found, _ := Got(adm.ListOffsetsAfterMilli(ctx, base.UnixMilli()+4500, topic)).Lookup(topic, 0)
	Check(found.Err == nil && found.Offset == 5, "found %+v", found)
	end, _ := Got(adm.ListEndOffsets(ctx, topic)).Lookup(topic, 0)
	Check(end.Offset == 10, "end %d", end.Offset)
	reader := client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		topic: {0: kgo.NewOffset().AfterMilli(base.UnixMilli() + 4500)},
	}))
	defer reader.Close()
	first := poll(reader, 1)
	Check(string(first[0].Value) == "5", "read %s", first[0].Value)
	return "offset 5 of 10, read from there"
}

func idempotent() string {
	// franz-go producers are idempotent unless told otherwise.
	topic := createTopic("idempotent", 1)
	var records []*kgo.Record
	for i := range 500 {
		records = append(records, &kgo.Record{Topic: topic, Value: []byte(strconv.Itoa(i))})
	}
	produce(records, kgo.ProducerBatchMaxBytes(1024), kgo.ProducerLinger(0))
	for i, record := range readAll(topic, 500) {
		Check(string(record.Value) == strconv.Itoa(i), "order differs at %d", i)
	}
	return "500 records in order"
}

func commit() string {
	topic := createTopic("commit", 1)
	var records []*kgo.Record
	for i := range 10 {
		records = append(records, &kgo.Record{Topic: topic, Value: []byte(strconv.Itoa(i))})
	}
	produce(records)
	group := topic + "-group"
	options := []kgo.Opt{kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit()}
	reader := client(options...)
	seen := poll(reader, 10)
	reader.Close()
	Check(len(seen) == 10, "%d records", len(seen))
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: 4, LeaderEpoch: 0, Metadata: "note to self"})
	Must(adm.CommitAllOffsets(ctx, group, offsets))
	committed, _ := Got(adm.FetchOffsets(ctx, group)).Lookup(topic, 0)
	Check(committed.At == 4 && committed.Metadata == "note to self", "committed %+v", committed)
	resumed := client(options...)
	defer resumed.Close()
	again := poll(resumed, 6)
	Check(again[0].Offset == 4, "resumed at %d", again[0].Offset)
	return "offset 4 with metadata, resumed there"
}

// member is one consumer of a group that polls by itself.
type member struct {
	*kgo.Client
	mu       sync.Mutex
	owned    map[int32]bool
	lost     int
	seen     map[string]bool
	stopPoll context.CancelFunc
	polled   chan struct{}
}

func join(topic string, options ...kgo.Opt) *member {
	pollCtx, stop := context.WithCancel(ctx)
	m := &member{owned: map[int32]bool{}, seen: map[string]bool{}, stopPoll: stop, polled: make(chan struct{})}
	update := func(owns bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			m.mu.Lock()
			defer m.mu.Unlock()
			if !owns {
				m.lost++
			}
			for _, partition := range changed[topic] {
				if owns {
					m.owned[partition] = true
				} else {
					delete(m.owned, partition)
				}
			}
		}
	}
	m.Client = client(append([]kgo.Opt{
		kgo.ConsumerGroup(topic + "-group"), kgo.ConsumeTopics(topic),
		kgo.HeartbeatInterval(300 * time.Millisecond), kgo.SessionTimeout(10 * time.Second),
		kgo.OnPartitionsAssigned(update(true)), kgo.OnPartitionsRevoked(update(false)), kgo.OnPartitionsLost(update(false)),
	}, options...)...)
	go func() {
		defer close(m.polled)
		for pollCtx.Err() == nil {
			m.PollFetches(pollCtx).EachRecord(func(record *kgo.Record) {
				m.mu.Lock()
				m.seen[string(record.Value)] = true
				m.mu.Unlock()
			})
		}
	}()
	return m
}

func (m *member) partitions() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	var owned []int
	for partition := range m.owned {
		owned = append(owned, int(partition))
	}
	sort.Ints(owned)
	return owned
}

func (m *member) leave() {
	m.stopPoll()
	<-m.polled
	m.Close()
}

func group() string {
	for name, balancer := range map[string]kgo.GroupBalancer{
		"range": kgo.RangeBalancer(), "cooperative": kgo.CooperativeStickyBalancer(),
	} {
		topic := createTopic("group-"+name, 4)
		first := join(topic, kgo.Balancers(balancer))
		Await("4 partitions", func() bool { return len(first.partitions()) == 4 })
		second := join(topic, kgo.Balancers(balancer))
		Await("2 and 2", func() bool { return len(first.partitions()) == 2 && len(second.partitions()) == 2 })
		distinct := func() int {
			first.mu.Lock()
			defer first.mu.Unlock()
			second.mu.Lock()
			defer second.mu.Unlock()
			all := map[string]bool{}
			for value := range first.seen {
				all[value] = true
			}
			for value := range second.seen {
				all[value] = true
			}
			return len(all)
		}
		send := func(from int) {
			var records []*kgo.Record
			for i := from; i < from+20; i++ {
				key := []byte(strconv.Itoa(i))
				records = append(records, &kgo.Record{Topic: topic, Key: key, Value: key})
			}
			produce(records)
		}
		send(0)
		Await("20 records", func() bool { return distinct() == 20 })
		second.leave()
		Await("4 partitions again", func() bool { return len(first.partitions()) == 4 })
		send(20)
		Await("40 records", func() bool { return distinct() == 40 })
		first.leave()
	}
	return "4 → 2+2 → 4 partitions, 40 records; range and cooperative-sticky"
}

func staticMember() string {
	topic := createTopic("static", 4)
	options := func(name string) []kgo.Opt {
		return []kgo.Opt{kgo.InstanceID(name), kgo.Balancers(kgo.RangeBalancer())}
	}
	one, two := join(topic, options("one")...), join(topic, options("two")...)
	Await("2 and 2", func() bool { return len(one.partitions()) == 2 && len(two.partitions()) == 2 })
	before := fmt.Sprint(two.partitions())
	two.leave() // a static member does not leave when it closes
	one.mu.Lock()
	one.lost = 0
	one.mu.Unlock()
	two = join(topic, options("two")...)
	Await("the member back", func() bool { return len(two.partitions()) > 0 })
	after := fmt.Sprint(two.partitions())
	Check(after == before, "%s became %s", before, after)
	time.Sleep(700 * time.Millisecond)
	one.mu.Lock()
	Check(one.lost == 0, "the other member was rebalanced")
	one.mu.Unlock()
	two.leave()
	one.leave()
	return fmt.Sprintf("closed and back: partitions %s kept, other member untouched", before)
}

func adminTopics() string {
	topic := createTopic("admin", 3)
	listed := Got(adm.ListTopics(ctx))
	Check(len(listed[topic].Partitions) == 3, "%d partitions", len(listed[topic].Partitions))
	Check(listed[topic].ID != kadm.TopicID{}, "no topic id")
	again := Got(adm.CreateTopics(ctx, 3, 1, nil, topic))
	Check(errors.Is(again[topic].Err, kerr.TopicAlreadyExists), "created twice: %v", again[topic].Err)
	Must(Got(adm.DeleteTopics(ctx, topic)).Error())
	Await("the topic to vanish", func() bool { return !Got(adm.ListTopics(ctx)).Has(topic) })
	return "created with 3 partitions, listed, refused twice, deleted"
}

func autoCreate() string {
	topic := args.Prefix + "-auto"
	var records []*kgo.Record
	for i := range 40 {
		key := []byte(strconv.Itoa(i))
		records = append(records, &kgo.Record{Topic: topic, Key: key, Value: key})
	}
	produce(records, kgo.AllowAutoTopicCreation())
	used := map[int32]bool{}
	for _, record := range readAll(topic, 40) {
		used[record.Partition] = true
	}
	count := len(Got(adm.ListTopics(ctx, topic))[topic].Partitions)
	Check(args.Partitions == 0 || count == args.Partitions, "%d partitions, expected %d", count, args.Partitions)
	return fmt.Sprintf("%d partitions, %d used", count, len(used))
}

// What the steps are made of.

func client(options ...kgo.Opt) *kgo.Client {
	base := []kgo.Opt{
		kgo.SeedBrokers(args.Bootstrap), kgo.ClientID("compat-franz-go"), kgo.FetchMaxWait(200 * time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RecordRetries(10),
	}
	return Got(kgo.NewClient(append(base, options...)...))
}

func createTopic(name string, partitions int32) string {
	topic := args.Prefix + "-" + name
	created := Got(adm.CreateTopics(ctx, partitions, 1, nil, topic))
	Must(created[topic].Err)
	return topic
}

func produce(records []*kgo.Record, options ...kgo.Opt) {
	producer := client(append([]kgo.Opt{kgo.ProducerLinger(20 * time.Millisecond)}, options...)...)
	defer producer.Close()
	Must(producer.ProduceSync(ctx, records...).FirstErr())
}

func poll(reader *kgo.Client, count int) []*kgo.Record {
	var seen []*kgo.Record
	limit, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for len(seen) < count {
		fetches := reader.PollFetches(limit)
		Must(fetches.Err0())
		fetches.EachRecord(func(record *kgo.Record) { seen = append(seen, record) })
	}
	return seen
}

// readAll reads from the beginning of all partitions, without a group.
func readAll(topic string, count int) []*kgo.Record {
	reader := client(kgo.ConsumeTopics(topic))
	defer reader.Close()
	seen := poll(reader, count)
	Check(len(seen) == count, "%d records, expected %d", len(seen), count)
	return seen
}

func valuesOf(records []*kgo.Record) []string {
	var values []string
	for _, record := range records {
		values = append(values, string(record.Value))
	}
	return values
}
