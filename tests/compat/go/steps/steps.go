// Package steps is what the Go programs of the scenario share: arguments, one JSON line per step, small checks.
package steps

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Args of every client program: BOOTSTRAP PREFIX [PARTITIONS].
type Args struct {
	Bootstrap  string
	Prefix     string
	Partitions int // that an auto-created topic must have; 0 = not known
}

func ParseArgs() Args {
	args := Args{Bootstrap: os.Args[1], Prefix: os.Args[2]}
	if len(os.Args) > 3 {
		args.Partitions, _ = strconv.Atoi(os.Args[3])
	}
	return args
}

// NotApplicable as a panic value marks a step this client cannot do.
type NotApplicable string

// Step runs the body; a panic is a failure with its text.
func Step(name string, body func() string) {
	started := time.Now()
	var ok any = true
	var detail string
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			switch cause := recover().(type) {
			case nil:
			case NotApplicable:
				ok, detail = nil, string(cause)
			default:
				ok, detail = false, fmt.Sprint(cause)
			}
		}()
		detail = body()
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		ok, detail = false, "not finished after 30 s"
	}
	line, _ := json.Marshal(map[string]any{
		"step": name, "ok": ok, "detail": detail, "ms": time.Since(started).Milliseconds(),
	})
	fmt.Println(string(line))
}

func Check(condition bool, format string, values ...any) {
	if !condition {
		panic(fmt.Sprintf(format, values...))
	}
}

func Must(err error) {
	if err != nil {
		panic(err)
	}
}

func Got[T any](value T, err error) T {
	Must(err)
	return value
}

// Await polls the condition every 20 ms for at most 20 s.
func Await(what string, condition func() bool) {
	deadline := time.Now().Add(20 * time.Second)
	for !condition() {
		Check(time.Now().Before(deadline), "waited 20 s for %s", what)
		time.Sleep(20 * time.Millisecond)
	}
}

// CodecValues are compressible, distinct and in order.
func CodecValues(codec string) []string {
	values := make([]string, 200)
	for i := range values {
		values[i] = fmt.Sprintf("%s-%d-%s", codec, i, strings.Repeat("abcdefgh", 12))
	}
	return values
}

// LargeValue does not compress away.
func LargeValue() []byte {
	value := make([]byte, 900_000)
	state := uint32(12345)
	for i := range value {
		state = state*1103515245 + 12345
		value[i] = byte(state >> 24)
	}
	return value
}

func SameSet(a, b []string) bool {
	a, b = append([]string{}, a...), append([]string{}, b...)
	sort.Strings(a)
	sort.Strings(b)
	return strings.Join(a, ",") == strings.Join(b, ",")
}
