// The CloudEvents SDK for Go: a sender and a receiver, both with its own client.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/protocol"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/cloudevents/sdk-go/v2/types"
)

// lineMax bounds a line of input: an event of a mebibyte as base64, and its attributes.
const lineMax = 8 << 20

type extension struct {
	T string          `json:"t"`
	V json.RawMessage `json:"v"`
}

type written struct {
	ID              string               `json:"id"`
	Type            string               `json:"type"`
	Source          string               `json:"source"`
	Subject         string               `json:"subject"`
	Time            string               `json:"time"`
	DataSchema      string               `json:"dataschema"`
	DataContentType string               `json:"datacontenttype"`
	Extensions      map[string]extension `json:"extensions"`
	Data            *struct {
		JSON   *string `json:"json"`
		Text   *string `json:"text"`
		Base64 *string `json:"base64"`
	} `json:"data"`
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == "send" {
		send(os.Args[2], os.Args[3])
		return
	}
	receive()
}

func send(target, mode string) {
	client, err := cloudevents.NewClientHTTP()
	if err != nil {
		panic(err)
	}
	encode := cloudevents.WithEncodingBinary
	if mode == "structured" {
		encode = cloudevents.WithEncodingStructured
	}
	ctx := encode(cloudevents.ContextWithTarget(context.Background(), target))
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, lineMax)
	for lines.Scan() {
		var one written
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			panic(err)
		}
		said := map[string]any{"id": one.ID}
		if made, err := one.event(); err != nil {
			said["error"] = err.Error()
		} else {
			result := client.Send(ctx, made)
			var status *cehttp.Result
			if protocol.ResultAs(result, &status) {
				said["status"] = status.StatusCode
			}
			if !protocol.IsACK(result) {
				said["error"] = result.Error()
			}
		}
		line, _ := json.Marshal(said)
		fmt.Println(string(line))
	}
}

func (one written) event() (event.Event, error) {
	e := cloudevents.NewEvent()
	e.SetID(one.ID)
	e.SetType(one.Type)
	e.SetSource(one.Source)
	if one.Subject != "" {
		e.SetSubject(one.Subject)
	}
	if one.DataSchema != "" {
		e.SetDataSchema(one.DataSchema)
	}
	if one.Time != "" {
		at, err := time.Parse(time.RFC3339Nano, one.Time)
		if err != nil {
			return e, err
		}
		e.SetTime(at)
	}
	for name, extension := range one.Extensions {
		value, err := extension.value()
		if err != nil {
			return e, err
		}
		e.SetExtension(name, value)
	}
	if one.Data == nil {
		if one.DataContentType != "" {
			e.SetDataContentType(one.DataContentType)
		}
		return e, nil
	}
	var data []byte
	switch {
	case one.Data.JSON != nil:
		data = []byte(*one.Data.JSON)
	case one.Data.Text != nil:
		data = []byte(*one.Data.Text)
	default:
		var err error
		if data, err = base64.StdEncoding.DecodeString(*one.Data.Base64); err != nil {
			return e, err
		}
	}
	return e, e.SetData(one.DataContentType, data)
}

func (x extension) value() (any, error) {
	if x.T == "int" {
		var number int32
		return number, json.Unmarshal(x.V, &number)
	}
	if x.T == "bool" {
		var truth bool
		err := json.Unmarshal(x.V, &truth)
		return truth, err
	}
	var text string
	if err := json.Unmarshal(x.V, &text); err != nil {
		return nil, err
	}
	switch x.T {
	case "bytes":
		return base64.StdEncoding.DecodeString(text)
	case "uri":
		return url.Parse(text)
	case "time":
		return time.Parse(time.RFC3339Nano, text)
	}
	return text, nil
}

var file sync.Mutex

// seen notes an event as the API showed it.
func seen(e event.Event) {
	attributes := map[string]string{
		"specversion": e.SpecVersion(),
		"id":          e.ID(),
		"type":        e.Type(),
		"source":      e.Source(),
	}
	put := func(name, value string) {
		if value != "" {
			attributes[name] = value
		}
	}
	put("subject", e.Subject())
	put("dataschema", e.DataSchema())
	put("datacontenttype", e.DataContentType())
	if !e.Time().IsZero() {
		put("time", e.Time().Format(time.RFC3339Nano))
	}
	for name, value := range e.Extensions() {
		text, err := types.Format(value)
		if err != nil {
			text = err.Error()
		}
		attributes[name] = text
	}
	line, err := json.Marshal(map[string]any{"attributes": attributes, "bytes": e.Data()})
	if err != nil {
		panic(err)
	}
	if e.Data() == nil {
		line, _ = json.Marshal(map[string]any{"attributes": attributes, "bytes": ""})
	}
	file.Lock()
	defer file.Unlock()
	out, err := os.OpenFile(os.Getenv("SEEN"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		panic(err)
	}
	defer out.Close()
	if _, err := out.Write(append(line, '\n')); err != nil {
		panic(err)
	}
}

func receive() {
	port, err := strconv.Atoi(os.Getenv("PORT"))
	if err != nil {
		panic(err)
	}
	client, err := cloudevents.NewClientHTTP(cloudevents.WithPort(port))
	if err != nil {
		panic(err)
	}
	err = client.StartReceiver(context.Background(), func(e event.Event) (*event.Event, protocol.Result) {
		seen(e)
		reply := cloudevents.NewEvent()
		reply.SetID("reply-" + e.ID())
		reply.SetType("peer.reply")
		reply.SetSource("/peers/" + os.Getenv("PEER"))
		if note, ok := e.Extensions()["note"]; ok {
			reply.SetExtension("note", note)
		}
		if err := reply.SetData(cloudevents.ApplicationJSON, map[string]string{"seen": e.ID()}); err != nil {
			return nil, err
		}
		return &reply, nil
	})
	panic(err)
}
