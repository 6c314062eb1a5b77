<?php
// The webhook as it is usually written in PHP, a yardstick of the benchmark: the published checks and answers, and one
// INSERT a request over a persistent connection.
//
// With AMQP_VHOST set, the event is published to a quorum queue and confirmed before the 201. If this process is killed
// after the INSERT and before the publish, the event is lost, so it promises less than Callvine does.
declare(strict_types=1);

const REQUIRED = ['from_phone', 'to_phone', 'handled_by', 'start_time', 'end_time', 'recording_url'];
const TIME_FORMAT = 'Y-m-d H:i:s';
const CONFIRM_TIMEOUT_SECONDS = 5.0;

const INSERT = '
insert into call_logs (client, from_phone, to_phone, handled_by, department, start_time, end_time, recording_url,
                       title, created_at)
values (:client, :from_phone, :to_phone, :handled_by, :department, :start_time, :end_time, :recording_url, :title,
        :created_at)
returning id';

function answer(int $status, array $body): never
{
    $json = json($body);
    http_response_code($status);
    header('Content-Type: application/json');
    header('Content-Length: ' . strlen($json));
    header('Access-Control-Allow-Origin: *');
    header('Access-Control-Expose-Headers: Location, Retry-After, X-Request-Id');
    header('X-Request-Id: ' . bin2hex(random_bytes(16)));
    echo $json;
    exit;
}

function refuse(int $status, string $error, string $message, array $more = []): never
{
    answer($status, ['error' => $error, 'message' => $message] + $more);
}

function json(array $value): string
{
    return json_encode($value, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_THROW_ON_ERROR);
}

function authenticate(): void
{
    $authorization = preg_replace('/^Bearer +/i', '', $_SERVER['HTTP_AUTHORIZATION'] ?? '');
    $key = $_SERVER['HTTP_X_API_KEY'] ?? $authorization;
    if ($key === '') {
        $message = 'API key must be provided in X-API-Key header or Authorization header';
        refuse(401, 'Authentication required', $message);
    }
    if (!hash_equals(getenv('API_KEY'), $key)) {
        refuse(401, 'Invalid API key', 'The provided API key is not valid');
    }
}

function read_call(): array
{
    $call = json_decode(file_get_contents('php://input'), true);
    if (!is_array($call)) {
        refuse(400, 'Invalid JSON', 'Request body must be valid JSON');
    }
    $is_missing = fn ($field) => !is_string($call[$field] ?? null) || trim($call[$field]) === '';
    $missing = array_values(array_filter(REQUIRED, $is_missing));
    if ($missing) {
        $message = 'The following fields are required: ' . implode(', ', $missing);
        refuse(400, 'Missing required fields', $message, ['missing_fields' => $missing]);
    }
    foreach (['start_time', 'end_time'] as $field) {
        $time = DateTimeImmutable::createFromFormat('!' . TIME_FORMAT, $call[$field]);
        if (!$time || $time->format(TIME_FORMAT) !== $call[$field]) {
            $message = "$field must be in YYYY-MM-DD HH:MM:SS format";
            refuse(400, "Invalid $field format", $message, ['example' => '2024-01-15 09:00:00']);
        }
    }
    if ($call['end_time'] <= $call['start_time']) {
        refuse(400, 'Invalid time range', 'end_time must be after start_time');
    }
    if (!filter_var($call['recording_url'], FILTER_VALIDATE_URL)) {
        refuse(400, 'Invalid recording URL', 'recording_url must be a valid URL');
    }
    return [
        'from_phone' => $call['from_phone'],
        'to_phone' => $call['to_phone'],
        'handled_by' => $call['handled_by'],
        'department' => $call['department'] ?? null,
        'start_time' => $call['start_time'],
        'end_time' => $call['end_time'],
        'recording_url' => $call['recording_url'],
        'title' => "Call from {$call['from_phone']} to {$call['to_phone']} (handled by {$call['handled_by']})",
        'created_at' => gmdate(TIME_FORMAT),
    ];
}

function insert(array $call): int
{
    $database = new PDO(getenv('DATABASE_DSN'), options: [
        PDO::ATTR_PERSISTENT => true,
        // Statement and parameters go in one message. A statement prepared on the server would take three in each
        // request: it is prepared, run and dropped.
        PDO::PGSQL_ATTR_DISABLE_PREPARES => true,
    ]);
    $statement = $database->prepare(INSERT);
    $statement->execute(['client' => 'bench'] + $call);
    return $statement->fetchColumn();
}

function publish(array $call): void
{
    $connection = new AMQPConnection([
        'host' => '127.0.0.1',
        'port' => getenv('AMQP_PORT'),
        'vhost' => getenv('AMQP_VHOST'),
    ]);
    $connection->pconnect();
    $channel = new AMQPChannel($connection);
    $channel->confirmSelect();
    $channel->setConfirmCallback(
        // One message is to be confirmed, so the first confirm ends the wait.
        fn () => false,
        fn () => throw new AMQPException('the broker has not taken the event'),
    );
    $id = bin2hex(random_bytes(16));
    $event = json([
        'specversion' => '1.0',
        'id' => $id,
        'source' => '/callvine',
        'type' => 'ai.callvine.call.created',
        'subject' => "calls/{$call['id']}",
        'time' => gmdate('Y-m-d\TH:i:s\Z'),
        'datacontenttype' => 'application/json',
        'data' => $call,
    ]);
    $properties = ['content_type' => 'application/cloudevents+json', 'message_id' => $id, 'delivery_mode' => 2];
    // The exchange without a name leads straight to the queue.
    $exchange = new AMQPExchange($channel);
    $exchange->publish($event, getenv('AMQP_QUEUE'), AMQP_NOPARAM, $properties);
    $channel->waitForConfirm(CONFIRM_TIMEOUT_SECONDS);
}

if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
    $more = ['allowed_methods' => ['POST']];
    refuse(405, 'Method not allowed', 'This endpoint only accepts POST requests', $more);
}
authenticate();
$call = read_call();
try {
    $call = ['id' => insert($call)] + $call;
} catch (PDOException $error) {
    error_log($error->getMessage());
    refuse(500, 'Database error', 'Failed to insert call log into database');
}
try {
    if (getenv('AMQP_VHOST') !== false) {
        publish($call);
    }
} catch (AMQPException $error) {
    error_log($error->getMessage());
    refuse(500, 'Internal server error', 'An unexpected error occurred while processing the request');
}
header("Location: /calls/{$call['id']}", response_code: 201);
answer(201, ['success' => true, 'message' => 'Call log created successfully', 'data' => $call]);
