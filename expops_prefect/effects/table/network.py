"""HTTP, cloud services, messages and mail: whole distributions, for nearly all of them is an effect."""

ENTRIES = {
    "network": """
        requests requests_toolbelt requests_cache httpx aiohttp urllib3 urllib.request urllib.robotparser http.client
        httplib2 pycurl treq grequests niquests curl_cffi httpcore tls_client cloudscraper mechanize robobrowser
        websocket websockets socketio gql graphql_client zeep suds xmlrpc.client hvac consul etcd3 kazoo socket
        socketserver ssl.create_default_context ssl.get_server_certificate select asyncio.open_connection
        asyncio.start_server ftplib ftputil telnetlib poplib imaplib nntplib smtplib aiosmtplib imap_tools yagmail
        exchangelib sendgrid mailchimp_transactional mailchimp_marketing mailjet_rest postmarker resend redmail paramiko
        pysftp asyncssh scp netmiko ncclient pysnmp ldap ldap3 dns whois ping3 scapy nmap boto boto3 botocore
        aiobotocore aioboto3 s3fs s3transfer sagemaker awswrangler moto chalice aws_encryption_sdk google.cloud
        google.auth google.oauth2 google.api_core google.ads google.analytics google.generativeai google.genai
        googleapiclient google_auth_oauthlib gspread gspread_dataframe pygsheets pydrive pydrive2 gcsfs pandas_gbq
        vertexai firebase_admin azure adlfs msal msgraph office365 O365 msrest msrestazure ibm_boto3 oci aliyunsdkcore
        oss2 qcloud_cos minio b2sdk dropbox boxsdk swiftclient openstack digitalocean linode_api4 hcloud CloudFlare
        cloudflare heroku3 vercel netlify wasabi fsspec smart_open universal_pathlib cloudpathlib libcloud pulumi
        terraform kubernetes_asyncio docker_registry slack slack_sdk slack_bolt slackclient discord discord_webhook
        pymsteams telegram telebot telethon pyrogram twilio vonage plivo messagebird pushover pushbullet apprise
        notifiers signalwire matrix_client nio tweepy twitter praw asyncpraw mastodon facebook_business linkedin_api
        instagrapi instaloader pytube yt_dlp youtube_dl openai anthropic cohere mistralai groq together replicate
        huggingface_hub ollama litellm langchain langchain_core langchain_openai langchain_community langchain_anthropic
        langgraph llama_index marvin controlflow instructor dspy guidance haystack voyageai pinecone weaviate
        qdrant_client chromadb elevenlabs assemblyai deepgram stability_sdk fireworks aleph_alpha_client semantic_kernel
        autogen crewai pydantic_ai kafka confluent_kafka aiokafka faust pika aio_pika kombu celery nats stomp paho gmqtt
        zmq pulsar pynsq stripe paypalrestsdk square braintree plaid shopify quickbooks xero_python coinbase ccxt
        binance alpaca_trade_api alpaca krakenex yfinance pandas_datareader quandl nasdaqdatalink alpha_vantage
        iexfinance fredapi wbdata wbgapi investpy tiingo polygon finnhub intrinio_sdk eodhd ib_insync ibapi oandapyV20
        openbb github ghapi github3 gitlab jira atlassian bitbucket pygithub linear asana trello notion_client notion
        airtable pyairtable clickup monday todoist_api_python zenpy zendesk intercom hubspot simple_salesforce
        salesforce salesforce_bulk marketo segment analytics amplitude mixpanel posthog sentry_sdk rollbar bugsnag
        datadog newrelic statsd prometheus_client pagerduty opsgenie_sdk victorops honeycomb logtail loguru_loki
        elastic_transport contentful sanity strapi wordpress_xmlrpc woocommerce magento geopy googlemaps
        openrouteservice mapbox herepy overpy osmnx earthengine ee sentinelhub planet pystac_client pyowm
        openmeteo_requests meteostat noaa_sdk spotipy lyricsgenius musicbrainzngs wikipedia wikipediaapi mwclient
        pywikibot duckduckgo_search serpapi googlesearch tavily exa_py newsapi feedparser bs4_requests scrapy crawlee
        firecrawl newspaper trafilatura.fetch_url requests_html pyquery.openers tableauserverclient powerbiclient
        looker_sdk metabase superset dataikuapi databricks databricks_cli fivetran airbyte singer dlt meltano hightouch
        census monte_carlo great_expectations datahub prefect_aws prefect_gcp prefect_azure prefect_slack prefect_email
        prefect_github prefect_gitlab prefect_bitbucket prefect_databricks prefect_docker prefect_kubernetes
        prefect_openai prefect_twitter prefect_airbyte prefect_fivetran prefect_census prefect_hightouch prefect_monday
        prefect_jupyter prefect_cloud prefect_alert prefect_fugue prefect_soda_core prefect_planetary_computer
        prefect_hex mlflow wandb neptune comet_ml clearml aim dagshub dvc dvclive tensorboardX kaggle openml roboflow
        labelbox torchvision.datasets torchaudio.datasets nltk.download spacy.cli gdown wget urlgrabber
        sklearn.datasets.fetch_openml sklearn.datasets.fetch_california_housing sklearn.datasets.fetch_20newsgroups
        sklearn.datasets.fetch_covtype sklearn.datasets.fetch_lfw_people sklearn.datasets.fetch_olivetti_faces
        seaborn.load_dataset statsmodels.datasets.get_rdataset vega_datasets pandas.read_html pandas.read_gbq
        pandas.io.gbq ray bentoml modal beam runpod prefect_ray.remote distributed.Client dask.distributed.Client coiled
        grpc thrift pyarrow.fs pyarrow.flight pyiceberg
    """,
    "harmless": """
        requests.codes requests.Response requests.models.Response httpx.Response aiohttp.ClientResponse requests.Request
        requests.PreparedRequest requests.auth requests.adapters requests.utils.quote requests.utils.unquote
        requests.compat requests.exceptions requests.structures httpx.Timeout httpx.Limits httpx.URL httpx.QueryParams
        httpx.Headers httpx.BasicAuth aiohttp.ClientTimeout aiohttp.TCPConnector aiohttp.FormData urllib3.util
        urllib3.disable_warnings urllib3.Retry urllib3.exceptions urllib.request.pathname2url urllib.request.Request
        urllib.request.quote urllib.request.unquote urllib.request.url2pathname botocore.config botocore.exceptions
        google.api_core.retry google.api_core.exceptions google.cloud.bigquery.SchemaField
        google.cloud.bigquery.LoadJobConfig google.cloud.bigquery.QueryJobConfig socket.inet_aton socket.inet_ntoa
        socket.htons socket.ntohs socket.htonl socket.ntohl langchain_core.prompts langchain.prompts
        langchain.text_splitter langchain_text_splitters tiktoken websockets.exceptions geopy.distance openai.types
        anthropic.types ssl select.select
    """,
}
