// The common scenario with sarama. See ../../README.md for the steps.
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

	"github.com/IBM/sarama"

	. "hadron/compat/steps"
)

var (
	args    = ParseArgs()
	brokers = []string{args.Bootstrap}
	adm     sarama.ClusterAdmin
)

func main() {
	adm = Got(sarama.NewClusterAdmin(brokers, config()))
	for codec := sarama.CompressionNone; codec <= sarama.CompressionZSTD; codec++ {
		Step("codec "+codec.String(), func() string { return codecStep(codec) })
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

func codecStep(codec sarama.CompressionCodec) string {
	topic := createTopic("codec-"+codec.String(), 2)
	values := CodecValues(codec.String())
	var messages []*sarama.ProducerMessage
	for i, value := range values {
		messages = append(messages, message(topic, strconv.Itoa(i), value))
	}
	produce(messages, func(c *sarama.Config) { c.Producer.Compression = codec })
	var got []string
	for _, one := range readAll(topic, 200) {
		got = append(got, string(one.Value))
	}
	Check(SameSet(got, values), "values differ")
	return "200 records"
}

func headers() string {
	topic := createTopic("headers", 1)
	sent := []sarama.RecordHeader{
		{Key: []byte("a"), Value: []byte("one")}, {Key: []byte("b"), Value: []byte{0, 255}},
		{Key: []byte("empty"), Value: []byte{}}, {Key: []byte("a"), Value: []byte("two")},
	}
	one := message(topic, "k", "v")
	one.Headers = sent
	produce([]*sarama.ProducerMessage{one})
	got := readAll(topic, 1)[0].Headers
	Check(len(got) == len(sent), "%d headers", len(got))
	for i := range sent {
		same := bytes.Equal(got[i].Key, sent[i].Key) && bytes.Equal(got[i].Value, sent[i].Value)
		Check(same, "header %d: %v", i, got[i])
	}
	return "4 headers: repeated, binary, empty"
}

func nulls() string {
	topic := createTopic("nulls", 1)
	produce([]*sarama.ProducerMessage{
		{Topic: topic, Value: sarama.StringEncoder("no key")},
		{Topic: topic, Key: sarama.StringEncoder("tombstone")},
	})
	got := readAll(topic, 2)
	Check(got[0].Key == nil && got[1].Value == nil, "null lost")
	return "null key, null value"
}

func large() string {
	topic := createTopic("large", 1)
	value := LargeValue()
	produce([]*sarama.ProducerMessage{{Topic: topic, Value: sarama.ByteEncoder(value)}, message(topic, "k", "small")})
	Check(bytes.Equal(readAll(topic, 2)[0].Value, value), "value differs")
	return fmt.Sprintf("%d bytes", len(value))
}

func seekByTime() string {
	topic := createTopic("seek", 1)
	base := time.Now().Add(-1000 * time.Second).Truncate(time.Millisecond)
	var messages []*sarama.ProducerMessage
	for i := range 10 {
		one := message(topic, "k", strconv.Itoa(i))
		one.Timestamp = base.Add(time.Duration(i) * time.Second)
		messages = append(messages, one)
	}
	produce(messages)
	client := Got(sarama.NewClient(brokers, config()))
	defer client.Close()
	found := Got(client.GetOffset(topic, 0, base.UnixMilli()+4500))
	Check(found == 5, "offset %d, expected 5", found)
	past := Got(client.GetOffset(topic, 0, time.Now().Add(time.Hour).UnixMilli()))
	Check(past == -1, "past the end: %d", past)
	return "offset 5 of 10; −1 past the end"
}

func idempotent() string {
	topic := createTopic("idempotent", 1)
	var messages []*sarama.ProducerMessage
	for i := range 500 {
		messages = append(messages, message(topic, "k", strconv.Itoa(i)))
	}
	produce(messages, func(c *sarama.Config) {
		c.Producer.Idempotent = true
		c.Producer.Flush.MaxMessages = 20
		c.Net.MaxOpenRequests = 1 // sarama's own condition
	})
	for i, one := range readAll(topic, 500) {
		Check(string(one.Value) == strconv.Itoa(i), "order differs at %d", i)
	}
	return "500 records in order"
}

func commit() string {
	topic := createTopic("commit", 1)
	var messages []*sarama.ProducerMessage
	for i := range 10 {
		messages = append(messages, message(topic, "k", strconv.Itoa(i)))
	}
	produce(messages)
	first := join(topic, "")
	Await("10 records", func() bool { return first.count() == 10 })
	first.leave()
	client := Got(sarama.NewClient(brokers, config()))
	defer client.Close()
	manager := Got(sarama.NewOffsetManagerFromClient(topic+"-group", client))
	partition := Got(manager.ManagePartition(topic, 0))
	partition.ResetOffset(4, "note to self")
	partition.MarkOffset(4, "note to self")
	manager.Commit()
	Must(partition.Close())
	Must(manager.Close())
	fetched := Got(adm.ListConsumerGroupOffsets(topic+"-group", map[string][]int32{topic: {0}}))
	block := fetched.GetBlock(topic, 0)
	Check(block.Offset == 4 && block.Metadata == "note to self", "committed %+v", block)
	second := join(topic, "")
	Await("6 records", func() bool { return second.count() == 6 })
	second.leave()
	return "offset 4 with metadata, resumed there"
}

// member is one consumer of a group; sarama calls it back.
type member struct {
	group  sarama.ConsumerGroup
	stop   context.CancelFunc
	done   chan struct{}
	mu     sync.Mutex
	owned  []int
	setups int
	seen   map[string]bool
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setups++
	m.owned = nil
	for _, partitions := range session.Claims() {
		for _, partition := range partitions {
			m.owned = append(m.owned, int(partition))
		}
	}
	sort.Ints(m.owned)
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case one, open := <-claim.Messages():
			if !open {
				return nil
			}
			m.mu.Lock()
			m.seen[string(one.Value)] = true
			m.mu.Unlock()
		case <-session.Context().Done():
			return nil
		}
	}
}

func join(topic, instance string) *member {
	group := Got(sarama.NewConsumerGroup(brokers, topic+"-group", config(func(c *sarama.Config) {
		c.Consumer.Group.InstanceId = instance
		c.Consumer.Offsets.AutoCommit.Enable = false
	})))
	ctx, stop := context.WithCancel(context.Background())
	m := &member{group: group, stop: stop, done: make(chan struct{}), seen: map[string]bool{}}
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{topic}, m); errors.Is(err, sarama.ErrClosedConsumerGroup) {
				return
			}
		}
	}()
	return m
}

func (m *member) leave() {
	m.stop()
	<-m.done
	Must(m.group.Close())
}

func (m *member) partitions() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]int{}, m.owned...)
}

func (m *member) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.seen)
}

func group() string {
	topic := createTopic("group", 4)
	first := join(topic, "")
	Await("4 partitions", func() bool { return len(first.partitions()) == 4 })
	second := join(topic, "")
	Await("2 and 2", func() bool { return len(first.partitions()) == 2 && len(second.partitions()) == 2 })
	distinct := func() int {
		all := map[string]bool{}
		for _, m := range []*member{first, second} {
			m.mu.Lock()
			for value := range m.seen {
				all[value] = true
			}
			m.mu.Unlock()
		}
		return len(all)
	}
	send := func(from int) {
		var messages []*sarama.ProducerMessage
		for i := from; i < from+20; i++ {
			messages = append(messages, message(topic, strconv.Itoa(i), strconv.Itoa(i)))
		}
		produce(messages)
	}
	send(0)
	Await("20 records", func() bool { return distinct() == 20 })
	second.leave()
	Await("4 partitions again", func() bool { return len(first.partitions()) == 4 })
	send(20)
	Await("40 records", func() bool { return distinct() == 40 })
	first.leave()
	return "4 → 2+2 → 4 partitions, 40 records"
}

func staticMember() string {
	topic := createTopic("static", 4)
	one, two := join(topic, "one"), join(topic, "two")
	Await("2 and 2", func() bool { return len(one.partitions()) == 2 && len(two.partitions()) == 2 })
	before := fmt.Sprint(two.partitions())
	setups := one.setups
	two.leave() // a static member does not leave when it closes
	two = join(topic, "two")
	Await("the member back", func() bool { return len(two.partitions()) > 0 })
	after := fmt.Sprint(two.partitions())
	Check(after == before, "%s became %s", before, after)
	time.Sleep(700 * time.Millisecond)
	Check(one.setups == setups, "the other member was rebalanced")
	two.leave()
	one.leave()
	return fmt.Sprintf("closed and back: partitions %s kept, other member untouched", before)
}

func adminTopics() string {
	topic := createTopic("admin", 3)
	metadata := Got(adm.DescribeTopics([]string{topic}))
	Check(len(metadata[0].Partitions) == 3, "%d partitions", len(metadata[0].Partitions))
	err := adm.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 1}, false)
	Check(errors.Is(err, sarama.ErrTopicAlreadyExists), "created twice: %v", err)
	Must(adm.DeleteTopic(topic))
	Await("the topic to vanish", func() bool {
		left := Got(adm.DescribeTopics([]string{topic}))
		return errors.Is(left[0].Err, sarama.ErrUnknownTopicOrPartition)
	})
	return "created with 3 partitions, refused twice, deleted"
}

func autoCreate() string {
	topic := args.Prefix + "-auto"
	var messages []*sarama.ProducerMessage
	for i := range 40 {
		messages = append(messages, message(topic, strconv.Itoa(i), strconv.Itoa(i)))
	}
	produce(messages)
	used := map[int32]bool{}
	for _, one := range readAll(topic, 40) {
		used[one.Partition] = true
	}
	metadata := Got(adm.DescribeTopics([]string{topic}))
	count := len(metadata[0].Partitions)
	Check(args.Partitions == 0 || count == args.Partitions, "%d partitions, expected %d", count, args.Partitions)
	return fmt.Sprintf("%d partitions, %d used", count, len(used))
}

// What the steps are made of.

func config(changes ...func(*sarama.Config)) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V4_0_0_0
	c.ClientID = "compat-sarama"
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Flush.Frequency = 20 * time.Millisecond
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.MaxWaitTime = 100 * time.Millisecond
	c.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	c.Consumer.Group.Session.Timeout = 10 * time.Second
	c.Consumer.Group.Rebalance.Timeout = 10 * time.Second
	for _, change := range changes {
		change(c)
	}
	return c
}

func message(topic, key, value string) *sarama.ProducerMessage {
	return &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(key), Value: sarama.StringEncoder(value)}
}

func createTopic(name string, partitions int32) string {
	topic := args.Prefix + "-" + name
	Must(adm.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false))
	return topic
}

func produce(messages []*sarama.ProducerMessage, changes ...func(*sarama.Config)) {
	producer := Got(sarama.NewSyncProducer(brokers, config(changes...)))
	defer producer.Close()
	Must(producer.SendMessages(messages))
}

// readAll reads from the beginning of all partitions, without a group.
func readAll(topic string, count int) []*sarama.ConsumerMessage {
	consumer := Got(sarama.NewConsumer(brokers, config()))
	defer consumer.Close()
	partitions := Got(consumer.Partitions(topic))
	all := make(chan *sarama.ConsumerMessage)
	done := make(chan struct{})
	defer close(done)
	for _, partition := range partitions {
		claim := Got(consumer.ConsumePartition(topic, partition, sarama.OffsetOldest))
		go func() {
			for one := range claim.Messages() {
				select {
				case all <- one:
				case <-done:
				}
			}
		}()
		defer claim.AsyncClose()
	}
	var seen []*sarama.ConsumerMessage
	for len(seen) < count {
		select {
		case one := <-all:
			seen = append(seen, one)
		case <-time.After(20 * time.Second):
			panic(fmt.Sprintf("%d records, expected %d", len(seen), count))
		}
	}
	return seen
}
