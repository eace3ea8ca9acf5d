// Package report prints a JSON line for each thing that a program's application sees.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

type line struct {
	Saw     string `json:"saw"`
	Type    string `json:"type,omitempty"`
	Data    string `json:"data"`
	ID      string `json:"id"`
	Problem string `json:"problem,omitempty"`
	Text    string `json:"text,omitempty"`
}

// Hub returns the stream's URL. The test ends the program by closing its standard input.
func Hub() string {
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return os.Args[1]
}

// Event is the message handler of a typical application: it expects JSON in every event.
func Event(kind, data, id string) {
	problem := ""
	var value any
	if err := json.Unmarshal([]byte(data), &value); err != nil {
		problem = err.Error()
	}
	print(line{Saw: "event", Type: kind, Data: data, ID: id, Problem: problem})
}

// Open reports that a stream is open.
func Open() {
	print(line{Saw: "open"})
}

// Error reports the end of a stream, or why there is none.
func Error(err error) {
	print(line{Saw: "error", Text: fmt.Sprint(err)})
}

func print(l line) {
	text, err := json.Marshal(l)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}
