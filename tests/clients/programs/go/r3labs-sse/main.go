package main

import (
	"time"

	"github.com/r3labs/sse/v2"

	"sse-broadcaster-clients/internal/report"
)

func main() {
	client := sse.NewClient(report.Hub())
	client.OnConnect(func(*sse.Client) { report.Open() })
	for {
		// Returns nil when the server ends the stream. The client remembers the last event id.
		err := client.SubscribeRaw(func(event *sse.Event) {
			report.Event(string(event.Event), string(event.Data), string(event.ID))
		})
		report.Error(err)
		time.Sleep(200 * time.Millisecond)
	}
}
