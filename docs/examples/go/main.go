// Answers /ping by a command, wherever it is said, and says what became of each answer.
//
//	go run .                               # events of every bot
//	go run . 102000001                     # of one bot
//	go run . 102000001 group GROUP_OPENID  # of one place
//
// NATS_URL, NATS_USER, NATS_PASSWORD and NATS_INBOX_PREFIX say where NATS is, and who you are.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Name of the durable consumers: where they are is kept on the server under it.
const name = "ping"

type event struct {
	ID          string `json:"id"`
	Kind        string `json:"kind"`
	App         string `json:"app"`
	Scene       string `json:"scene"`
	Scope       string `json:"scope"`
	Guild       string `json:"guild"`
	Traceparent string `json:"traceparent"`
	// Goes into the command as it is.
	Reply   json.RawMessage `json:"reply"`
	Message struct {
		Command struct {
			Name string `json:"name"`
		} `json:"command"`
	} `json:"message"`
}

type command struct {
	V           int             `json:"v"`
	ID          string          `json:"id"`
	App         string          `json:"app"`
	Scene       string          `json:"scene"`
	Scope       string          `json:"scope"`
	Guild       string          `json:"guild,omitempty"`
	Traceparent string          `json:"traceparent,omitempty"`
	Reply       json.RawMessage `json:"reply"`
	Deadline    json.RawMessage `json:"deadline"`
	Action      any             `json:"action"`
}

type result struct {
	ID      string `json:"id"`
	Outcome *struct {
		Kind string `json:"kind"`
	} `json:"outcome"`
}

type object = map[string]any

// The command that answers an event, or nil.
func answer(e event) (*command, error) {
	if e.Message.Command.Name != "ping" || e.Reply == nil {
		return nil, nil
	}
	var right struct {
		ExpiresAt json.RawMessage `json:"expires_at"`
	}
	if err := json.Unmarshal(e.Reply, &right); err != nil {
		return nil, err
	}
	return &command{
		V:   1,
		ID:  "ping/" + e.ID, // the same event, the same id: it is answered once
		App: e.App, Scene: e.Scene, Scope: e.Scope, Guild: e.Guild, Traceparent: e.Traceparent,
		Reply: e.Reply, Deadline: right.ExpiresAt,
		Action: object{"send": object{"content": object{"text": "pong"}}},
	}, nil
}

// Gives what a durable consumer has to handle, for ever, from where it was left.
func follow(ctx context.Context, js jetstream.JetStream, stream, subjects string, handle func(jetstream.Msg) error) error {
	consumer, err := js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable:       name,
		FilterSubject: subjects,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       10 * time.Second, // what a program that died had in hand comes again after so long
		MaxAckPending: 1,                // one after the other, so that order holds over a restart
	})
	if err != nil {
		return fmt.Errorf("%s: %w", stream, err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(1))
	if err != nil {
		return fmt.Errorf("%s: %w", stream, err)
	}
	for {
		message, err := messages.Next()
		if errors.Is(err, jetstream.ErrNoHeartbeat) {
			continue // the connection is being made again
		}
		if err != nil {
			return fmt.Errorf("%s: %w", stream, err)
		}
		if err := handle(message); err != nil {
			log.Print("not stored, tried again: ", err)
			err = message.NakWithDelay(time.Second)
		} else {
			err = message.Ack()
		}
		if err != nil {
			log.Print("it will come again: ", err)
		}
	}
}

func followEvents(ctx context.Context, js jetstream.JetStream, stream, subjects string) error {
	return follow(ctx, js, stream, subjects, func(message jetstream.Msg) error {
		var e event
		if err := json.Unmarshal(message.Data(), &e); err != nil {
			return err
		}
		fmt.Println("event", e.ID, e.Kind)
		command, err := answer(e)
		if command == nil || err != nil {
			return err
		}
		payload, err := json.Marshal(command)
		if err != nil {
			return err
		}
		// Parts of the event's subject are those of the command's, as they stand.
		part := strings.Split(message.Subject(), ".")
		subject := fmt.Sprintf("qq.v1.cmd.%s.%s.%s.send", part[4], part[8], part[9])
		_, err = js.Publish(ctx, subject, payload, jetstream.WithMsgID(command.ID))
		return err
	})
}

func followResults(ctx context.Context, js jetstream.JetStream, subjects string) error {
	return follow(ctx, js, "QQ_RESULTS", subjects, func(message jetstream.Msg) error {
		var r result
		if err := json.Unmarshal(message.Data(), &r); err != nil {
			return err
		}
		if strings.HasPrefix(r.ID, "ping/") && r.Outcome != nil {
			fmt.Println("outcome", r.ID, r.Outcome.Kind)
		}
		return nil
	})
}

func run(ctx context.Context) error {
	filter := append(os.Args[1:], "*", "*", "*")
	app, scene, scope := filter[0], filter[1], filter[2]
	connection, err := nats.Connect(cmp.Or(os.Getenv("NATS_URL"), nats.DefaultURL),
		nats.UserInfo(os.Getenv("NATS_USER"), os.Getenv("NATS_PASSWORD")),
		nats.CustomInboxPrefix(cmp.Or(os.Getenv("NATS_INBOX_PREFIX"), "_INBOX")),
		nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	js, err := jetstream.New(connection)
	if err != nil {
		return err
	}
	ended := make(chan error)
	go func() { ended <- followResults(ctx, js, fmt.Sprintf("qq.v1.res.%s.%s.%s.*", app, scene, scope)) }()
	streams := js.StreamNames(ctx, jetstream.WithStreamListSubject("qq.v1.ev.>"))
	events := fmt.Sprintf("qq.v1.ev.*.%s.*.e.*.%s.%s.*", app, scene, scope)
	for stream := range streams.Name() {
		go func() { ended <- followEvents(ctx, js, stream, events) }()
	}
	if err := streams.Err(); err != nil {
		return err
	}
	return <-ended
}

func main() {
	log.Fatal(run(context.Background()))
}
