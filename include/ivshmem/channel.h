/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Channels: messages between peers that need not trust each other, in the memory of a region.
 *
 * The region is divided into sections, and a peer writes only to its own section. So there are no
 * locks, and a peer that dies at any instruction blocks no other peer. Everything that another peer
 * wrote is checked: a peer that writes wrong values ends the channels that use them
 * (IVS_CHANNEL_E_BROKEN), and has no other effect on the library. But the region is memory that all
 * peers can write, so a hostile peer can also destroy or change messages between other peers.
 *
 *   queue   messages from one or more senders to one receiver; none is lost
 *   topic   messages from one publisher to subscribers that come and go; the publisher never waits
 *   stream  bytes in both directions, like a connected socket; it has two ends
 *
 * Peers find each other by the name of a channel, in any order. On a region without doorbells
 * (shm:, file:, ivshmem-plain), waiting polls with growing pauses of up to 10 ms.
 *
 * Results: see ivshmem/api.h; ivs_channel_strerror() describes them.
 *
 * Thread safety: calls for the same struct ivs_channels, and for queues that were opened from it,
 * must not overlap. A peer that is used by channels must not be used with ivs_peer_next() or
 * ivs_peer_wait(): these functions would consume the channels' events. After fork() only one of the
 * two processes may use the channels.
 */
#ifndef IVSHMEM_CHANNEL_H
#define IVSHMEM_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "ivshmem/api.h"
#include "ivshmem/peer.h"

#ifdef __cplusplus
extern "C" {
#endif

#define IVS_CHANNEL_NAME_MAX 39		     /* bytes of a name, without the terminating zero */
#define IVS_CHANNEL_MESSAGE_MAX (1u << 30)   /* bytes of a message */
#define IVS_CHANNEL_SECTION_OF_ID UINT32_MAX /* the section with the number of the peer's id */
#define IVS_CHANNEL_SPIN_DEFAULT UINT32_MAX

#define IVS_TOPIC_BORROWERS_MAX 32
#define IVS_TOPIC_LOANS_MAX 7 /* what one cache line can say */

struct ivs_channels;
struct ivs_queue;
struct ivs_stream_listener;
struct ivs_stream;
struct ivs_topic;

enum ivs_channel_error {
	IVS_CHANNEL_E_TIMEOUT = 1, /* the time limit expired */
	IVS_CHANNEL_E_ENDED,	   /* the other side has closed the channel, left or died */
	IVS_CHANNEL_E_BROKEN,	   /* the other side has stored impossible values */
	IVS_CHANNEL_E_TOO_LONG,	   /* the message is longer than the queue or buffer allows */
	IVS_CHANNEL_E_NAME,	   /* the name is empty, too long, or has control characters */
	IVS_CHANNEL_E_BUSY,	   /* another peer already uses this name to receive or listen */
	IVS_CHANNEL_E_LAYOUT,	   /* the region has other content, or a damaged layout */
	IVS_CHANNEL_E_VERSION,	   /* the region's layout has a different version */
	IVS_CHANNEL_E_SECTION,	   /* the peer has no section, or another peer has taken it */
	IVS_CHANNEL_E_FULL,	   /* the peer's section has no room for another channel */
	IVS_CHANNEL_E_READ_ONLY,   /* the region is not mapped for writing */
	IVS_CHANNEL_E_PEER,	   /* the device is gone, or ivs_peer_stop() was called */
};

/** ivs_channel_strerror() - describe a result of this API. Return: a static string, never NULL */
IVS_PUBLIC const char *ivs_channel_strerror(int result);

/**
 * struct ivs_channels_options - start from IVS_CHANNELS_OPTIONS_INIT
 * @section:    number of this peer's section: IVS_CHANNEL_SECTION_OF_ID, or, for a peer without an
 *              id, a number that no other peer of the region uses
 * @sections_n: number of sections (2 to 4096) if the region has no layout yet; otherwise ignored.
 *              Peers that may open an empty region at the same time must use the same number. 0: 64
 *              if the region has at least 64 MiB; otherwise 16, or fewer if a section would be
 *              shorter than 32 KiB
 * @vector:     the peer's own vector that other peers ring
 * @spin_us:    calls that wait look at the region before they sleep, as long as that has paid
 *              lately, and at most for so long, in us (up to 1000000); 0: they sleep at once;
 *              IVS_CHANNEL_SPIN_DEFAULT: 100, or 0 if there is one CPU
 */
struct ivs_channels_options {
	uint32_t section;
	uint32_t sections_n;
	uint32_t vector;
	uint32_t spin_us;
};

#define IVS_CHANNELS_OPTIONS_INIT                                                                  \
	{                                                                                          \
		IVS_CHANNEL_SECTION_OF_ID, 0, 0, IVS_CHANNEL_SPIN_DEFAULT                          \
	}

/**
 * ivs_channels_open() - take the peer's section, and divide the region into sections if that has
 * not been done
 * @peer: must outlive the channels, and have IVS_CAP_WRITE
 * @opts: NULL: the defaults
 * @out:  unchanged unless 0 is returned
 * @err:  set to an error message, or to "" if 0 is returned; may be NULL
 *
 * A region is divided only if it starts with zeroes; other content is never overwritten. The
 * section's former content is lost. So a peer that is opened again, with the same id, starts
 * without the queues that it had, and the other sides of those queues see that these have ended.
 *
 * Return: 0, IVS_CHANNEL_E_LAYOUT, _VERSION, _SECTION, _READ_ONLY, _PEER; -errno (-ENOMEM).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_channels_open(struct ivs_peer *peer,
					      const struct ivs_channels_options *opts,
					      struct ivs_channels **out, struct ivs_error *err);

/**
 * ivs_channels_close() - give up the section; close all queues first. NULL is ignored.
 *
 * Receivers can still receive what was sent, until another peer takes the section.
 */
IVS_PUBLIC void ivs_channels_close(struct ivs_channels *channels);

/** ivs_channels_section() - number of this peer's section */
IVS_PUBLIC uint32_t ivs_channels_section(const struct ivs_channels *channels);

/** ivs_channels_sections() - number of sections of the region */
IVS_PUBLIC uint32_t ivs_channels_sections(const struct ivs_channels *channels);

/**
 * ivs_channels_wait() - wait until another peer rings this one, joins or leaves
 * @timeout_ms: 0: do not wait, but process what has happened; -1: no limit
 *
 * For programs that use several channels: try each with a time limit of 0, then call this function.
 * A message that arrived before the call ends the wait, and so do a connection to a listener, and
 * room in a queue or stream that was full. Without doorbells the function returns after a pause.
 *
 * Return: 0 (try the channels again), IVS_CHANNEL_E_TIMEOUT, _SECTION, _PEER; -errno (-EINTR).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_channels_wait(struct ivs_channels *channels, int timeout_ms);

/**
 * ivs_channels_begin_wait() - like ivs_channels_wait(), for programs that wait with poll(2)
 * @wait_ms: set to the longest time to wait, in ms, if the result is IVS_CHANNEL_E_TIMEOUT
 *
 * If the result is IVS_CHANNEL_E_TIMEOUT, poll ivs_channels_fd(), with other fds, for at most
 * @wait_ms. In either case, call ivs_channels_end_wait() afterwards, and try the channels again. No
 * other call for the channels may be made in between.
 *
 * Return: IVS_CHANNEL_E_TIMEOUT: nothing can be done now; 0: do not wait, because a channel has
 * something to report.
 */
IVS_PUBLIC IVS_MUST_USE int ivs_channels_begin_wait(struct ivs_channels *channels, int *wait_ms);

/**
 * ivs_channels_end_wait() - process what has happened during the wait
 *
 * Return: 0, IVS_CHANNEL_E_SECTION, _PEER; -errno.
 */
IVS_PUBLIC IVS_MUST_USE int ivs_channels_end_wait(struct ivs_channels *channels);

/**
 * ivs_channels_fd() - the fd to poll between ivs_channels_begin_wait() and ivs_channels_end_wait()
 *
 * Return: ivs_peer_fd() of the peer, for poll(2) with POLLIN; -1 if the peer has none. poll(2)
 * ignores -1, so that only the time limit ends the wait.
 */
IVS_PUBLIC int ivs_channels_fd(const struct ivs_channels *channels);

/**
 * struct ivs_queue_options - the size of a queue; zeroes: the defaults
 * @messages_n:  number of messages that fit, at least; rounded up to a power of two; 0: 16
 * @message_len: maximum length of a message in bytes, up to IVS_CHANNEL_MESSAGE_MAX; 0: 1024
 */
struct ivs_queue_options {
	uint32_t messages_n;
	uint32_t message_len;
};

/**
 * ivs_queue_open_sender() - create a queue, and be its sender
 * @name: 1 to IVS_CHANNEL_NAME_MAX bytes without control characters; UTF-8 by convention
 * @opts: NULL: the defaults
 *
 * The queue is in this peer's section. The receiver may open the name earlier or later. Several
 * senders with the same name have a queue each, all of which the receiver drains in turn. It drains
 * up to 8 queues of the same peer at a time; others wait until some of these are closed.
 *
 * Return: 0, IVS_CHANNEL_E_NAME, _TOO_LONG (@opts->message_len), _FULL, _SECTION, _PEER;
 *         -errno (-ENOMEM).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_queue_open_sender(struct ivs_channels *channels, const char *name,
						  const struct ivs_queue_options *opts,
						  struct ivs_queue **out);

/**
 * ivs_queue_open_receiver() - receive from all queues with this name
 *
 * Return: 0, IVS_CHANNEL_E_NAME, _BUSY, _FULL, _SECTION, _PEER; -errno (-ENOMEM).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_queue_open_receiver(struct ivs_channels *channels, const char *name,
						    struct ivs_queue **out);

/**
 * ivs_queue_close() - close a sender or receiver. NULL is ignored.
 *
 * A receiver that takes part in the queue can still receive what was sent. If there is no such
 * receiver yet, the messages are lost: see ivs_queue_flush().
 */
IVS_PUBLIC void ivs_queue_close(struct ivs_queue *queue);

/**
 * ivs_queue_reserve() - get the memory for the next message, to write it in place
 * @memory:     set to room for the queue's longest message, aligned to 8 bytes
 * @timeout_ms: how long to wait while the queue is full; 0: do not wait; -1: no limit
 *
 * Until ivs_queue_commit(), a further call returns the same memory.
 *
 * Return: 0, IVS_CHANNEL_E_TIMEOUT, _ENDED, _BROKEN, _SECTION, _PEER; -errno (-EINTR). After _ENDED
 * and _BROKEN, the queue can no longer be used: close it, and open a new one.
 */
IVS_PUBLIC IVS_MUST_USE int ivs_queue_reserve(struct ivs_queue *queue, void **memory,
					      int timeout_ms);

/**
 * ivs_queue_commit() - send the message in the memory that was reserved
 * @len: 0 to the queue's longest message
 */
IVS_PUBLIC void ivs_queue_commit(struct ivs_queue *queue, size_t len);

/**
 * ivs_queue_send() - send a copy of a message: ivs_queue_reserve(), memcpy(3), ivs_queue_commit()
 * @len: 0 to the queue's longest message
 *
 * Return: as ivs_queue_reserve(), and IVS_CHANNEL_E_TOO_LONG.
 */
IVS_PUBLIC IVS_MUST_USE int ivs_queue_send(struct ivs_queue *queue, const void *message, size_t len,
					   int timeout_ms);

/**
 * ivs_queue_flush() - wait until the receiver has released all messages that were sent
 *
 * Return: as ivs_queue_reserve().
 */
IVS_PUBLIC IVS_MUST_USE int ivs_queue_flush(struct ivs_queue *queue, int timeout_ms);

/**
 * ivs_queue_peek() - get the next message in place, without a copy
 * @message: set to the message in the sender's section. **Its bytes can change at any time** if the
 *           sender or another peer is hostile: copy what you check, or use ivs_queue_receive()
 * @len:     set to its length, which does not change
 *
 * Until ivs_queue_release(), a further call returns the same message.
 *
 * Return: 0, IVS_CHANNEL_E_TIMEOUT, _SECTION, _PEER; -errno (-EINTR). IVS_CHANNEL_E_ENDED: the last
 * sender is gone, and all its messages have been received. IVS_CHANNEL_E_BROKEN: one sender's queue
 * is broken, and its remaining messages are lost; other senders are not affected. Each of these two
 * is returned once, and then the receiver waits for other senders.
 */
IVS_PUBLIC IVS_MUST_USE int ivs_queue_peek(struct ivs_queue *queue, const void **message,
					   size_t *len, int timeout_ms);

/** ivs_queue_release() - give back the message that ivs_queue_peek() found */
IVS_PUBLIC void ivs_queue_release(struct ivs_queue *queue);

/**
 * ivs_queue_receive() - copy the next message, and release it
 * @buffer: room for @room bytes
 * @len:    set to the message's length; with IVS_CHANNEL_E_TOO_LONG it is more than @room, and the
 *          message stays in the queue
 *
 * Return: as ivs_queue_peek(), and IVS_CHANNEL_E_TOO_LONG.
 */
IVS_PUBLIC IVS_MUST_USE int ivs_queue_receive(struct ivs_queue *queue, void *buffer, size_t room,
					      size_t *len, int timeout_ms);

/**
 * ivs_queue_peers() - number of other sides (senders of a receiver; 0 or 1 receivers of a sender)
 * when a call waited last, or found the queue empty or full
 */
IVS_PUBLIC unsigned int ivs_queue_peers(const struct ivs_queue *queue);

/**
 * struct ivs_stream_options - the size of a stream's buffer; zeroes: the defaults
 * @buffer_len: how many bytes this side can write before the other side has read some, at least,
 *              in one call; 0: a sixteenth of the section. Each further call needs a part of the
 *              buffer, a sixteenth or 64 KiB, even for one byte: write many bytes at once
 */
struct ivs_stream_options {
	size_t buffer_len;
};

/**
 * ivs_stream_listen() - accept streams with this name
 * @opts: size of the buffers for what this side writes; NULL: the defaults
 *
 * Return: 0, IVS_CHANNEL_E_NAME, _BUSY (another peer listens), _FULL, _SECTION, _PEER;
 *         -errno (-ENOMEM).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_stream_listen(struct ivs_channels *channels, const char *name,
					      const struct ivs_stream_options *opts,
					      struct ivs_stream_listener **out);

/** ivs_stream_listener_close() - accept no more streams; those that were accepted continue */
IVS_PUBLIC void ivs_stream_listener_close(struct ivs_stream_listener *listener);

/**
 * ivs_stream_accept() - wait for a peer that connects
 *
 * A peer that has not closed 16 streams that were accepted and closed on this side waits until it
 * has closed one of them.
 *
 * Return: 0, IVS_CHANNEL_E_TIMEOUT, _FULL (no room for the buffer: close other streams, and try
 * again), _SECTION, _PEER; -errno (-EINTR, -ENOMEM).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_stream_accept(struct ivs_stream_listener *listener,
					      struct ivs_stream **out, int timeout_ms);

/**
 * ivs_stream_connect() - connect to the peer that listens to this name, which may start later
 * @opts: as for ivs_stream_listen()
 *
 * Return: 0, IVS_CHANNEL_E_TIMEOUT (no peer has accepted), _ENDED (the peer accepted, and left),
 * _NAME, _FULL, _SECTION, _PEER; -errno (-EINTR, -ENOMEM).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_stream_connect(struct ivs_channels *channels, const char *name,
					       const struct ivs_stream_options *opts,
					       struct ivs_stream **out, int timeout_ms);

/**
 * ivs_stream_begin_connect() - like ivs_stream_connect(), without waiting
 * @out: the stream, which is connected later, by any call that reads, writes or waits; until then,
 *       reading and writing return IVS_CHANNEL_E_TIMEOUT, _FULL, or _ENDED
 *
 * Return: 0, IVS_CHANNEL_E_NAME, _FULL, _SECTION, _PEER; -errno (-ENOMEM).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_stream_begin_connect(struct ivs_channels *channels,
						     const char *name,
						     const struct ivs_stream_options *opts,
						     struct ivs_stream **out);

/** ivs_stream_is_connected() - whether the other side has accepted the stream */
IVS_PUBLIC bool ivs_stream_is_connected(const struct ivs_stream *stream);

/**
 * ivs_stream_close() - close both directions. NULL is ignored. The other side can still read what
 * was written; if it writes, the result is IVS_CHANNEL_E_ENDED
 */
IVS_PUBLIC void ivs_stream_close(struct ivs_stream *stream);

/**
 * ivs_stream_abort() - close both directions after an error. NULL is ignored. The other side sees
 * the end as if this peer had died (ivs_stream_is_complete()), and may not be able to read what was
 * written
 */
IVS_PUBLIC void ivs_stream_abort(struct ivs_stream *stream);

/**
 * ivs_stream_shutdown() - write no more. The other side sees the end when it has read everything.
 * This side can still read
 */
IVS_PUBLIC void ivs_stream_shutdown(struct ivs_stream *stream);

/**
 * ivs_stream_write() - write up to @len bytes, waiting until at least one can be written
 * @len:     0: write nothing; return whether the other side still reads
 * @written: set to the number of bytes that were written, 0 unless 0 is returned
 *
 * Return: 0, IVS_CHANNEL_E_TIMEOUT, _ENDED (the other side has closed the stream, left or died, or
 * this side has called ivs_stream_shutdown()), _BROKEN, _SECTION, _PEER; -errno (-EINTR).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_stream_write(struct ivs_stream *stream, const void *bytes,
					     size_t len, size_t *written, int timeout_ms);

/**
 * ivs_stream_reserve() - memory for the next bytes, to write them in place, as with readv(2)
 * @parts:   set to parts of this peer's section, each of at most 64 KiB
 * @parts_n: number of elements of @parts, at least 1; set to the number of parts, at least 1
 *
 * Until ivs_stream_commit() the function returns the same memory, perhaps with more parts.
 *
 * Return: as ivs_stream_write().
 */
IVS_PUBLIC IVS_MUST_USE int ivs_stream_reserve(struct ivs_stream *stream, struct iovec *parts,
					       unsigned int *parts_n, int timeout_ms);

/**
 * ivs_stream_commit() - send the first bytes of the memory that ivs_stream_reserve() has returned
 * @len: at most the length of all parts
 */
IVS_PUBLIC void ivs_stream_commit(struct ivs_stream *stream, size_t len);

/**
 * ivs_stream_flush() - wait until the other side has read all bytes that were written
 *
 * A side that closes the stream and then its channels should flush the stream first: otherwise, the
 * next holder of its section may overwrite what has not been read.
 *
 * Return: 0, IVS_CHANNEL_E_TIMEOUT, _ENDED, _BROKEN, _FULL, _SECTION, _PEER; -errno (-EINTR).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_stream_flush(struct ivs_stream *stream, int timeout_ms);

/**
 * ivs_stream_read() - read up to @len bytes, waiting until there is at least one
 * @got: set to the number of bytes that were read, 0 unless 0 is returned
 *
 * Return: 0, IVS_CHANNEL_E_TIMEOUT, _ENDED (the other side writes no more, and everything has been
 * read), _BROKEN, _SECTION, _PEER; -errno (-EINTR).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_stream_read(struct ivs_stream *stream, void *bytes, size_t len,
					    size_t *got, int timeout_ms);

/**
 * ivs_stream_peek() - find the next bytes, to read them in place, as with writev(2)
 * @parts:   set to parts of the other side's section, not to be written. The other side can change
 *           them at any time: a program that checks bytes copies them first
 * @parts_n: number of elements of @parts, at least 1; set to the number of parts, at least 1
 *
 * Until ivs_stream_release() the function returns the same bytes, perhaps with more parts.
 *
 * Return: as ivs_stream_read(); IVS_CHANNEL_E_ENDED also if another peer uses the memory now.
 */
IVS_PUBLIC IVS_MUST_USE int ivs_stream_peek(struct ivs_stream *stream, struct iovec *parts,
					    unsigned int *parts_n, int timeout_ms);

/**
 * ivs_stream_release() - go on after the first @len bytes that ivs_stream_peek() has found
 *
 * Return: 0; IVS_CHANNEL_E_ENDED: the other side has left, and another peer uses its memory, so the
 * bytes may have been any; IVS_CHANNEL_E_BROKEN: it has changed their number.
 */
IVS_PUBLIC IVS_MUST_USE int ivs_stream_release(struct ivs_stream *stream, size_t len);

/**
 * ivs_stream_set_reading() - set whether ivs_channels_wait() returns when there are bytes to read,
 * and when they end; initially true. A program that cannot pass them on now sets false
 */
IVS_PUBLIC void ivs_stream_set_reading(struct ivs_stream *stream, bool reading);

/**
 * ivs_stream_is_complete() - why ivs_stream_read() has returned IVS_CHANNEL_E_ENDED
 *
 * Return: true: the other side has called ivs_stream_shutdown(), and everything that it wrote was
 * read; false: the end has not been read yet, or the other side has called ivs_stream_close()
 * without a shutdown, or ivs_stream_abort(), or has left or died, so that bytes may be missing.
 */
IVS_PUBLIC bool ivs_stream_is_complete(const struct ivs_stream *stream);

/** ivs_stream_section() - the section of the other side, once connected: its id, if it has one */
IVS_PUBLIC uint32_t ivs_stream_section(const struct ivs_stream *stream);

/**
 * struct ivs_topic_options - the size of a topic; zeroes: the defaults
 * @messages_n:  number of messages that are kept, at least; rounded up to a power of two; 0: 16. A
 *               subscriber that is further behind misses messages
 * @message_len: maximum length of a message in bytes, up to IVS_CHANNEL_MESSAGE_MAX; 0: 1024
 * @borrowers_n: number of subscribers that can borrow messages in place at the same time, 1 to
 *               IVS_TOPIC_BORROWERS_MAX; at most half of them, rounded up, of the same peer; 0: 2
 * @loans_n:     number of messages that each of them can borrow at the same time, 1 to
 *               IVS_TOPIC_LOANS_MAX; 0: 2
 *
 * The topic needs memory for @messages_n + @borrowers_n x @loans_n messages.
 */
struct ivs_topic_options {
	uint32_t messages_n;
	uint32_t message_len;
	uint32_t borrowers_n;
	uint32_t loans_n;
};

/**
 * ivs_topic_open_publisher() - create a topic, and be its publisher
 *
 * The publisher rings up to 64 subscribers, of which @borrowers_n must be borrowers; others look
 * for messages every 10 ms.
 *
 * Return: 0, IVS_CHANNEL_E_NAME, _TOO_LONG (@opts->message_len), _FULL (the section has no room; or
 * @opts has more borrowers or loans than the maximum), _SECTION, _PEER; -errno (-ENOMEM).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_topic_open_publisher(struct ivs_channels *channels,
						     const char *name,
						     const struct ivs_topic_options *opts,
						     struct ivs_topic **out);

/**
 * struct ivs_subscriber_options - what a subscriber receives; zeroes: the defaults
 * @newest:  only the newest message; older ones that have not been received are skipped
 * @last:    begin with the last message that was published before the subscriber was opened, if
 *           any; otherwise, with the next one: the first one of a publisher that is opened later
 * @borrows: the subscriber uses ivs_topic_borrow(), and should get messages in place
 */
struct ivs_subscriber_options {
	bool newest;
	bool last;
	bool borrows;
};

/**
 * ivs_topic_open_subscriber() - receive the messages of a topic, which may be created later
 * @opts: NULL: the defaults
 *
 * Return: 0, IVS_CHANNEL_E_NAME, _FULL, _SECTION, _PEER; -errno (-ENOMEM).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_topic_open_subscriber(struct ivs_channels *channels,
						      const char *name,
						      const struct ivs_subscriber_options *opts,
						      struct ivs_topic **out);

/**
 * ivs_topic_close() - close a publisher or subscriber, and give back what it has borrowed. NULL is
 * ignored.
 */
IVS_PUBLIC void ivs_topic_close(struct ivs_topic *topic);

/**
 * ivs_topic_reserve() - get the memory for the next message, to write it in place
 *
 * The oldest message is overwritten, unless a subscriber has borrowed it: then the publisher uses
 * other memory. Until ivs_topic_commit(), a further call returns the same memory.
 *
 * Return: room for the topic's longest message, aligned to 64 bytes, or to 4096 bytes (in each
 * peer's memory) if @message_len is at least 4096; NULL: another peer has taken the section.
 */
IVS_PUBLIC void *ivs_topic_reserve(struct ivs_topic *topic);

/**
 * ivs_topic_commit() - publish the message in the memory that was reserved
 * @len: 0 to the topic's longest message
 */
IVS_PUBLIC void ivs_topic_commit(struct ivs_topic *topic, size_t len);

/**
 * ivs_topic_publish() - publish a copy of a message
 *
 * Return: 0, IVS_CHANNEL_E_TOO_LONG, _SECTION.
 */
IVS_PUBLIC IVS_MUST_USE int ivs_topic_publish(struct ivs_topic *topic, const void *message,
					      size_t len);

/**
 * ivs_topic_receive() - copy the next message
 * @buffer:     room for @room bytes
 * @len:        set to the message's length; with IVS_CHANNEL_E_TOO_LONG it is more than @room, and
 *              the message can still be received
 * @timeout_ms: 0: do not wait; -1: no limit
 *
 * If the publisher overwrites messages faster than they can be copied, the result is
 * IVS_CHANNEL_E_TIMEOUT, even without a time limit.
 *
 * Return: 0, IVS_CHANNEL_E_TIMEOUT, _TOO_LONG, _FULL (the section has no endpoint left),
 * _SECTION, _PEER; -errno (-EINTR). IVS_CHANNEL_E_ENDED: the publisher is gone, and its last
 * message has been received; IVS_CHANNEL_E_BROKEN: it has stored impossible values. Each of these
 * two is returned once, and then the subscriber waits for another publisher.
 */
IVS_PUBLIC IVS_MUST_USE int ivs_topic_receive(struct ivs_topic *topic, void *buffer, size_t room,
					      size_t *len, int timeout_ms);

/**
 * ivs_topic_borrow() - get the next message without copying it to a buffer
 * @message: set to the message, which can be used until ivs_topic_give_back(). **Its bytes can
 *           change at any time** if a peer is hostile: copy what you check, or use
 *           ivs_topic_receive(). They also change when the publisher's section gets another holder
 *           (such as the publisher itself, opened again), and can change after this peer has lost
 *           its section or, for its publisher, has left
 * @len:     set to its length, which does not change
 *
 * A subscriber can borrow several messages, and the publisher continues meanwhile. The message is
 * in the publisher's section, with the alignment that ivs_topic_reserve() describes, if the
 * subscriber was opened with the option borrows, is one of the publisher's first borrowers, and has
 * not yet borrowed as many messages as the publisher allows. Otherwise, it is a private copy, with
 * the alignment of malloc(3): also for a moment after the subscriber was opened, before the
 * publisher has seen it.
 *
 * Return: as ivs_topic_receive(), except IVS_CHANNEL_E_TOO_LONG; -ENOMEM.
 */
IVS_PUBLIC IVS_MUST_USE int ivs_topic_borrow(struct ivs_topic *topic, const void **message,
					     size_t *len, int timeout_ms);

/**
 * ivs_topic_give_back() - the message that was borrowed is not used any more; NULL is ignored
 *
 * If the same address was borrowed twice, from a former publisher and from the present one, the
 * older loan is given back first.
 */
IVS_PUBLIC void ivs_topic_give_back(struct ivs_topic *topic, const void *message);

/** ivs_topic_is_in_place() - whether a borrowed message is in the region, and not a copy */
IVS_PUBLIC bool ivs_topic_is_in_place(const struct ivs_topic *topic, const void *message);

/**
 * ivs_topic_missed() - number of messages that a subscriber has missed because it was too far
 * behind, or has skipped because it wants only the newest one
 *
 * It counts from the message with which the subscriber began.
 */
IVS_PUBLIC uint64_t ivs_topic_missed(const struct ivs_topic *topic);

#ifdef __cplusplus
}
#endif

#endif
