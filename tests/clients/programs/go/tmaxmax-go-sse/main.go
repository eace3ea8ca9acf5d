package main

import (
	"net/http"
	"time"

	"github.com/tmaxmax/go-sse"

	"sse-broadcaster-clients/internal/report"
)

func main() {
	request, err := http.NewRequest(http.MethodGet, report.Hub(), http.NoBody)
	if err != nil {
		panic(err)
	}
	client := sse.Client{OnRetry: func(err error, _ time.Duration) { report.Error(err) }}
	connection := client.NewConnection(request)
	connection.SubscribeToAll(func(event sse.Event) {
		report.Event(event.Type, event.Data, event.LastEventID)
	})
	// Returns only if a response is not an event stream.
	report.Error(connection.Connect())
}
