// Pion: publishes pre-encoded H.264 and Opus, or watches.
//
//	pion publish|view|version -url URL [-token T] [-certificate ecdsa|rsa] [-media FOLDER]
package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"
)

const (
	pictureTime = time.Second / 30
	soundTime   = 20 * time.Millisecond
	reportEvery = 200 * time.Millisecond
	rsaBits     = 2048
)

var stdout sync.Mutex

type event map[string]any

// say tells the test what happened, and when: one JSON object a line.
func say(said event) {
	stdout.Lock()
	defer stdout.Unlock()
	said["at"] = time.Now().UnixMilli()
	line, err := json.Marshal(said)
	check(err)
	fmt.Println(string(line))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func certificate(kind string) webrtc.Certificate {
	var key crypto.PrivateKey
	var err error
	switch kind {
	case "ecdsa":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, rsaBits)
	default:
		err = fmt.Errorf("no such certificate: %s", kind)
	}
	check(err)
	made, err := webrtc.GenerateCertificate(key)
	check(err)
	return *made
}

// post offers, applies the answer, and returns the session's URL.
func post(pc *webrtc.PeerConnection, endpoint, token string) string {
	offer, err := pc.CreateOffer(nil)
	check(err)
	gathered := webrtc.GatheringCompletePromise(pc)
	check(pc.SetLocalDescription(offer))
	<-gathered
	request, err := http.NewRequest(http.MethodPost, endpoint, bytes.NewBufferString(pc.LocalDescription().SDP))
	check(err)
	request.Header.Set("Content-Type", "application/sdp")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	say(event{"event": "posted"})
	response, err := http.DefaultClient.Do(request)
	check(err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	check(err)
	if response.StatusCode != http.StatusCreated {
		log.Fatalf("POST %s: %s %s", endpoint, response.Status, answer)
	}
	check(pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}))
	base, err := url.Parse(endpoint)
	check(err)
	session, err := base.Parse(response.Header.Get("Location"))
	check(err)
	return session.String()
}

func remove(session string) {
	request, err := http.NewRequest(http.MethodDelete, session, nil)
	check(err)
	response, err := http.DefaultClient.Do(request)
	check(err)
	check(response.Body.Close())
	say(event{"event": "left", "status": response.StatusCode})
}

// pictures returns the access units of an IVF file.
func pictures(path string) [][]byte {
	file, err := os.Open(path)
	check(err)
	defer file.Close()
	reader, _, err := ivfreader.NewWith(file)
	check(err)
	var units [][]byte
	for {
		unit, _, err := reader.ParseNextFrame()
		if errors.Is(err, io.EOF) {
			return units
		}
		check(err)
		units = append(units, unit)
	}
}

// sounds returns the Opus packets of an Ogg file that has one a page.
func sounds(path string) [][]byte {
	file, err := os.Open(path)
	check(err)
	defer file.Close()
	reader, _, err := oggreader.NewWith(file)
	check(err)
	var packets [][]byte
	for {
		packet, _, err := reader.ParseNextPage()
		if errors.Is(err, io.EOF) {
			return packets
		}
		check(err)
		// The header's second packet.
		if !bytes.HasPrefix(packet, []byte("OpusTags")) {
			packets = append(packets, packet)
		}
	}
}

func play(track *webrtc.TrackLocalStaticSample, samples [][]byte, every time.Duration, stop <-chan struct{}) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for n := 0; ; n++ {
		check(track.WriteSample(media.Sample{Data: samples[n%len(samples)], Duration: every}))
		select {
		case <-ticker.C:
		case <-stop:
			return
		}
	}
}

func publish(pc *webrtc.PeerConnection, folder string, connected, stop <-chan struct{}) {
	add := func(mime, id string) *webrtc.TrackLocalStaticSample {
		track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: mime}, id, "show")
		check(err)
		_, err = pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		check(err)
		return track
	}
	start := func(track *webrtc.TrackLocalStaticSample, samples [][]byte, every time.Duration) {
		select {
		case <-connected:
			play(track, samples, every, stop)
		case <-stop:
		}
	}
	video, audio := add(webrtc.MimeTypeH264, "video"), add(webrtc.MimeTypeOpus, "audio")
	go start(video, pictures(filepath.Join(folder, "picture.ivf")), pictureTime)
	go start(audio, sounds(filepath.Join(folder, "tone.ogg")), soundTime)
}

// count tells a few times a second what comes, with the longest wait for one frame.
func count(track *webrtc.TrackRemote) {
	kind := track.Kind()
	frames, gap := 0, time.Duration(0)
	var last, told time.Time
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		// Only the last packet of a picture has the marker bit.
		if kind == webrtc.RTPCodecTypeVideo && !packet.Marker {
			continue
		}
		now := time.Now()
		if !last.IsZero() {
			gap = max(gap, now.Sub(last))
		}
		last = now
		frames++
		if now.Sub(told) >= reportEvery {
			say(event{"event": "frames", "kind": kind.String(), "frames": frames, "gap": gap.Milliseconds()})
			told, gap = now, 0
		}
	}
}

func view(pc *webrtc.PeerConnection) {
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		_, err := pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		check(err)
	}
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { count(track) })
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		log.Fatal("built without modules")
	}
	for _, module := range info.Deps {
		if module.Path == "github.com/pion/webrtc/v4" {
			return module.Version
		}
	}
	log.Fatal("no pion in this binary")
	return ""
}

func main() {
	if len(os.Args) < 2 {
		log.Fatal("pion publish|view|version")
	}
	role := os.Args[1]
	flags := flag.NewFlagSet(role, flag.ExitOnError)
	endpoint := flags.String("url", "", "the WHIP or WHEP endpoint")
	token := flags.String("token", "", "the token to publish")
	kind := flags.String("certificate", "ecdsa", "ecdsa or rsa")
	folder := flags.String("media", "", "folder of the clips")
	check(flags.Parse(os.Args[2:]))
	if role == "version" {
		fmt.Println(version())
		return
	}

	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{Certificates: []webrtc.Certificate{certificate(*kind)}})
	check(err)
	connected, stop := make(chan struct{}), make(chan struct{})
	var once sync.Once
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		say(event{"event": "state", "state": state.String()})
		if state == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(connected) })
		}
	})
	if role == "publish" {
		publish(pc, *folder, connected, stop)
	} else {
		view(pc)
	}
	session := post(pc, *endpoint, *token)
	say(event{"event": "joined", "session": session})
	_, err = io.Copy(io.Discard, os.Stdin)
	check(err)
	close(stop)
	remove(session)
	check(pc.Close())
}
